package helm

import (
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	podutil "k8s.io/kubernetes/pkg/api/pod"
	"k8s.io/kubernetes/pkg/apis/core"
	corev1defaults "k8s.io/kubernetes/pkg/apis/core/v1"
	"k8s.io/kubernetes/pkg/apis/core/validation"
	psapi "k8s.io/pod-security-admission/api"
	"k8s.io/pod-security-admission/policy"
	"sigs.k8s.io/yaml"
)

// Goal: the API server takes every pod, also in a namespace that enforces the restricted pod security standard.
func TestPodsAreAccepted(t *testing.T) {
	count := 0
	for _, c := range cases(t) {
		for name, pod := range pods(t, render(t, c)) {
			count++
			for _, complaint := range complaints(t, pod) {
				t.Errorf("%s, %s: %s", c.name, name, complaint)
			}
		}
	}
	if count < 12 {
		t.Errorf("only %d pods were looked at", count)
	}
}

// Goal: the check above finds what it is there for: each of these mistakes is one that a chart could make.
func TestPodMistakesAreFound(t *testing.T) {
	for _, mistake := range podMistakes {
		found := 0
		for _, pod := range pods(t, render(t, caseNamed(t, "default"))) {
			if len(pod.Spec.InitContainers) == 0 {
				continue
			}
			mistake.plant(pod)
			said := strings.Join(complaints(t, pod), "; ")
			if said != "" && strings.Contains(said, mistake.says) {
				found++
			} else {
				t.Errorf("%s: found only %q", mistake.name, said)
			}
		}
		if found != 1 {
			t.Errorf("%s: found in %d pods", mistake.name, found)
		}
	}
}

// podMistakes are such as a chart could make, and what is said to them.
var podMistakes = []struct {
	name, says string
	plant      func(*corev1.Pod)
}{
	{"a mount without its volume", "volumeMounts", func(p *corev1.Pod) { p.Spec.Volumes = p.Spec.Volumes[1:] }},
	{"probes on a plain init container", "startupProbe", func(p *corev1.Pod) { relay(p).RestartPolicy = nil }},
	{"a hook on a plain init container", "lifecycle", func(p *corev1.Pod) {
		relay(p).RestartPolicy = nil
		relay(p).Lifecycle = &corev1.Lifecycle{PreStop: &corev1.LifecycleHandler{Sleep: &corev1.SleepAction{Seconds: 1}}}
	}},
	{"a probe of a port that is not there", "", func(p *corev1.Pod) { relay(p).Ports[0].Name = "UPPER" }},
	{"a request above its limit", "must be less than or equal to memory limit", func(p *corev1.Pod) {
		relay(p).Resources.Requests[corev1.ResourceMemory] = resource.MustParse("9Gi")
	}},
	{"two mounts at one path", "must be unique", func(p *corev1.Pod) {
		relay(p).VolumeMounts = append(relay(p).VolumeMounts, relay(p).VolumeMounts[0])
	}},
	{"two containers of one name", "Duplicate value", func(p *corev1.Pod) { relay(p).Name = p.Spec.Containers[0].Name }},
	{"a volume source of two kinds", "may not specify more than 1 volume type", func(p *corev1.Pod) {
		p.Spec.Volumes[0].HostPath = &corev1.HostPathVolumeSource{Path: "/x"}
	}},
	{"root", "runAsNonRoot", func(p *corev1.Pod) { no := false; relay(p).SecurityContext.RunAsNonRoot = &no }},
	{"user 0", "runAsUser=0", func(p *corev1.Pod) { zero := int64(0); relay(p).SecurityContext.RunAsUser = &zero }},
	{"privilege escalation", "allowPrivilegeEscalation", func(p *corev1.Pod) { relay(p).SecurityContext.AllowPrivilegeEscalation = nil }},
	{"capabilities kept", "unrestricted capabilities", func(p *corev1.Pod) { relay(p).SecurityContext.Capabilities = nil }},
	{"no seccomp profile", "seccompProfile", func(p *corev1.Pod) {
		p.Spec.SecurityContext.SeccompProfile = nil
		for i := range p.Spec.InitContainers {
			p.Spec.InitContainers[i].SecurityContext.SeccompProfile = nil
		}
	}},
	{"a path of the node", "hostPath", func(p *corev1.Pod) {
		p.Spec.Volumes[0].VolumeSource = corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: "/x"}}
	}},
	{"a port of the node", "hostPort", func(p *corev1.Pod) { relay(p).Ports[0].HostPort = 7412 }},
	{"a probe of another host", "probe or lifecycle host", func(p *corev1.Pod) { relay(p).LivenessProbe.HTTPGet.Host = "127.0.0.1" }},
}

func relay(pod *corev1.Pod) *corev1.Container { return &pod.Spec.InitContainers[0] }

// pods are those that the objects of a stream would make.
func pods(t testing.TB, stream string) map[string]*corev1.Pod {
	t.Helper()
	found := map[string]*corev1.Pod{}
	for _, o := range objects(t, stream) {
		kind := o["kind"].(string)
		path := podTemplatePath(kind)
		if path == nil {
			continue
		}
		name := fmt.Sprint(kind, " ", at(o, "metadata", "name"))
		encoded, err := yaml.Marshal(at(o, path...))
		if err != nil {
			t.Fatal(err)
		}
		pod := &corev1.Pod{}
		if err := yaml.UnmarshalStrict(encoded, pod); err != nil && kind != "Pod" {
			t.Fatalf("%s: %v", name, err)
		} else if kind == "Pod" {
			if err := yaml.Unmarshal(encoded, pod); err != nil {
				t.Fatal(err)
			}
		}
		pod.Name, pod.Namespace = "pod", "shop"
		claims, _ := at(o, "spec", "volumeClaimTemplates").([]any)
		for _, claim := range claims {
			// The controller adds a volume of the claim's name.
			volume := corev1.Volume{Name: at(claim, "metadata", "name").(string)}
			volume.PersistentVolumeClaim = &corev1.PersistentVolumeClaimVolumeSource{ClaimName: volume.Name + "-pod-0"}
			pod.Spec.Volumes = append(pod.Spec.Volumes, volume)
		}
		found[name] = pod
	}
	return found
}

// complaints are what the API server would say at the pod's creation.
func complaints(t testing.TB, pod *corev1.Pod) []string {
	t.Helper()
	var found []string
	evaluator, err := policy.NewEvaluator(policy.DefaultChecks(), nil)
	if err != nil {
		t.Fatal(err)
	}
	restricted := psapi.LevelVersion{Level: psapi.LevelRestricted, Version: psapi.LatestVersion()}
	for _, result := range evaluator.EvaluatePod(restricted, &pod.ObjectMeta, &pod.Spec) {
		if !result.Allowed {
			found = append(found, result.ForbiddenReason+": "+result.ForbiddenDetail)
		}
	}
	defaulted := pod.DeepCopy()
	corev1defaults.SetObjectDefaults_Pod(defaulted)
	var internal core.Pod
	if err := corev1defaults.Convert_v1_Pod_To_core_Pod(defaulted, &internal, nil); err != nil {
		t.Fatal(err)
	}
	options := podutil.GetValidationOptionsFromPodSpecAndMeta(&internal.Spec, nil, &internal.ObjectMeta, nil)
	for _, problem := range validation.ValidatePodCreate(&internal, options) {
		found = append(found, problem.Error())
	}
	return found
}
