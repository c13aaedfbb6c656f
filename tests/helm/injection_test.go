package helm

import (
	"context"
	"reflect"
	"strings"
	"testing"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/admission"
	plugincel "k8s.io/apiserver/pkg/admission/plugin/cel"
	"k8s.io/apiserver/pkg/admission/plugin/policy/mutating/patch"
	celconfig "k8s.io/apiserver/pkg/apis/cel"
	"k8s.io/apiserver/pkg/cel/environment"
	"sigs.k8s.io/yaml"
)

// Goal: a pod that the admission policy has changed has the same sidecar as one that the chart has made, first of its init containers,
// and the API server takes it; whether the pod had init containers, volumes, mounts or a longer grace period before, or nothing.
func TestInjectionGivesTheChartsSidecar(t *testing.T) {
	stream := render(t, caseNamed(t, "injection"))
	wanted := chartsPod(t)
	for name, pod := range map[string]*corev1.Pod{
		"bare":      {Spec: corev1.PodSpec{Containers: []corev1.Container{app("shop")}}},
		"furnished": furnished(),
	} {
		pod.Name, pod.Namespace, pod.Labels = "pod", "shop", map[string]string{"dualstream/inject": "true"}
		before := len(pod.Spec.InitContainers)
		got := admit(t, stream, pod)
		if !reflect.DeepEqual(got.Spec.InitContainers[0], wanted.Spec.InitContainers[0]) {
			t.Errorf("%s: the sidecar differs:\n%v\n%v", name, got.Spec.InitContainers[0], wanted.Spec.InitContainers[0])
		}
		if len(got.Spec.InitContainers) != before+1 {
			t.Errorf("%s: %d init containers", name, len(got.Spec.InitContainers))
		}
		for _, container := range got.Spec.Containers {
			mounts, variables := container.VolumeMounts, container.Env
			if len(mounts) == 0 || mounts[len(mounts)-1].MountPath != "/run/dualstream" || len(variables) < 2 {
				t.Errorf("%s: container %s does not reach the relay", name, container.Name)
			}
		}
		if *got.Spec.TerminationGracePeriodSeconds != max(60, graceOf(pod)) || *got.Spec.SecurityContext.FSGroup == 0 {
			t.Errorf("%s: grace or group: %v", name, got.Spec)
		}
		got.Spec.SecurityContext.RunAsNonRoot = wanted.Spec.SecurityContext.RunAsNonRoot
		got.Spec.SecurityContext.SeccompProfile = wanted.Spec.SecurityContext.SeccompProfile
		for _, complaint := range complaints(t, got) {
			t.Errorf("%s: %s", name, complaint)
		}
	}
}

// Goal: no other pod is touched: the policy asks for the label, is bound to the release's namespace, and leaves alone a pod that has the
// relay.
func TestInjectionIsAskedFor(t *testing.T) {
	seen := 0
	for _, o := range objects(t, render(t, caseNamed(t, "injection"))) {
		switch o["kind"] {
		case "MutatingAdmissionPolicy":
			seen++
			if at(o, "spec", "matchConstraints", "objectSelector", "matchLabels", "dualstream/inject") != "true" {
				t.Error("every pod would be changed")
			}
			condition := at(o, "spec", "matchConditions").([]any)[0].(object)["expression"].(string)
			if !strings.Contains(condition, `c.name == "dualstream"`) {
				t.Errorf("a second look would add a second relay: %s", condition)
			}
		case "MutatingAdmissionPolicyBinding":
			seen++
			if at(o, "spec", "matchResources", "namespaceSelector", "matchLabels", "kubernetes.io/metadata.name") != "shop" {
				t.Error("it is bound to other namespaces")
			}
		}
	}
	if seen != 2 {
		t.Errorf("%d objects", seen)
	}
}

func graceOf(pod *corev1.Pod) int64 {
	if pod.Spec.TerminationGracePeriodSeconds == nil {
		return 30
	}
	return *pod.Spec.TerminationGracePeriodSeconds
}

func app(name string) corev1.Container {
	no := false
	return corev1.Container{Name: name, Image: "registry.example/" + name, SecurityContext: &corev1.SecurityContext{
		AllowPrivilegeEscalation: &no, Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}}}}
}

func furnished() *corev1.Pod {
	long, group := int64(300), int64(2000)
	one, two := app("shop"), app("log")
	one.VolumeMounts = []corev1.VolumeMount{{Name: "data", MountPath: "/data"}}
	one.Env = []corev1.EnvVar{{Name: "A", Value: "1"}}
	return &corev1.Pod{Spec: corev1.PodSpec{
		InitContainers: []corev1.Container{app("migrate")}, Containers: []corev1.Container{one, two},
		Volumes:                       []corev1.Volume{{Name: "data", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}}},
		TerminationGracePeriodSeconds: &long, SecurityContext: &corev1.PodSecurityContext{FSGroup: &group},
	}}
}

// chartsPod is the one that the chart's own workload has with the same values.
func chartsPod(t *testing.T) *corev1.Pod {
	t.Helper()
	out, said, ok := run(t, tool(t, "helm4"), "template", "demo", root(t, "helm", "dualstream"), "--namespace", "shop", "--kube-version",
		"1.36.0", "--values", "values/injection.yaml", "--set", "injection.enabled=false,demo.enabled=true")
	if !ok {
		t.Fatal(said)
	}
	for name, pod := range pods(t, out) {
		if strings.HasPrefix(name, "Deployment") {
			return pod
		}
	}
	t.Fatal("no Deployment")
	return nil
}

// admit is what the API server's own code makes of the pod by the policy's patch.
func admit(t *testing.T, stream string, pod *corev1.Pod) *corev1.Pod {
	t.Helper()
	var policy admissionregistrationv1.MutatingAdmissionPolicy
	for _, o := range objects(t, stream) {
		if o["kind"] == "MutatingAdmissionPolicy" {
			encoded, err := yaml.Marshal(o)
			if err != nil {
				t.Fatal(err)
			}
			if err := yaml.UnmarshalStrict(encoded, &policy); err != nil {
				t.Fatal(err)
			}
		}
	}
	compiler, err := plugincel.NewCompositedCompiler(environment.MustBaseEnvSet(environment.DefaultCompatibilityVersion()))
	if err != nil {
		t.Fatal(err)
	}
	expression := &patch.JSONPatchCondition{Expression: policy.Spec.Mutations[0].JSONPatch.Expression}
	compiled := compiler.CompileMutatingEvaluator(expression, plugincel.OptionalVariableDeclarations{HasPatchTypes: true},
		environment.NewExpressions)
	scheme := runtime.NewScheme()
	if err := corev1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	kind := corev1.SchemeGroupVersion.WithKind("Pod")
	resource := corev1.SchemeGroupVersion.WithResource("pods")
	attributes := admission.NewAttributesRecord(pod, nil, kind, pod.Namespace, pod.Name, resource, "", admission.Create,
		&metav1.CreateOptions{}, false, nil)
	changed, err := patch.NewJSONPatcher(compiled).Patch(context.Background(), patch.Request{
		MatchedResource:     resource,
		VersionedAttributes: &admission.VersionedAttributes{Attributes: attributes, VersionedKind: kind, VersionedObject: pod},
		ObjectInterfaces:    admission.NewObjectInterfacesFromScheme(scheme),
	}, celconfig.RuntimeCELCostBudget)
	if err != nil {
		t.Fatal(err)
	}
	return changed.(*corev1.Pod)
}
