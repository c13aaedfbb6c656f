//go:build server

package helm

import (
	"errors"
	"fmt"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"
)

// TestServer asks a real API server. Run it by `make helm-server`.
func TestServer(t *testing.T) {
	s := startServer(t)
	for _, file := range glob(t, root(t, ".cache", "k8s-schemas", "crds", "*.yaml")) {
		s.define(t, file)
	}
	s.namespace(t, "elsewhere")
	for _, part := range []struct {
		name string
		try  func(*testing.T, *server)
	}{
		{"objects", serverTakesTheObjects}, {"mistakes", serverFindsMistakes}, {"mistakes in objects", serverFindsMistakesInObjects},
		{"four ways", serverInjectsTheSame}, {"policy", serverInjectsTheChartsPod},
	} {
		t.Run(part.name, func(t *testing.T) { part.try(t, s) })
	}
}

// define makes the kinds of a file with a definition, and waits until they are served.
func (s *server) define(t *testing.T, file string) {
	t.Helper()
	relative, err := filepath.Rel(root(t), file)
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range objects(t, readText(t, relative)) {
		if _, err := s.create("", o, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		group, kind := at(o, "spec", "group").(string), at(o, "spec", "names", "kind").(string)
		waitFor(t, kind, func() error {
			s.mapper.Reset()
			probe := object{"apiVersion": group + "/v1", "kind": kind, "metadata": object{"name": "probe"}, "spec": object{}}
			if _, err := s.create("default", probe, dry); err != nil && !strings.Contains(err.Error(), "spec.") {
				return err
			}
			return nil
		})
	}
}

// Goal: a cluster takes every object of the chart with any of its values, of the examples, of the kustomize component and of
// `dualstream inject`, and every pod that they make, where the restricted standard is enforced; it has not even a warning.
func serverTakesTheObjects(t *testing.T, s *server) {
	s.namespace(t, "shop")
	streams := map[string]string{"kustomize": kustomize(t, root(t, "kustomize", "example"))}
	streams["inject"] = inject(t, secured(t, readText(t, "kustomize", "example", "shop.yaml")), "--brokers", "kafka:9092")
	for _, c := range cases(t) {
		streams[c.name] = render(t, c)
	}
	kinds, count := map[string]bool{}, 0
	for name, stream := range streams {
		for _, o := range objects(t, stream) {
			kind := o["kind"].(string)
			kinds[kind] = true
			if isBystander(fmt.Sprint(at(o, "metadata", "name"))) {
				continue
			}
			count++
			if _, err := s.create("shop", o, dry); err != nil {
				t.Errorf("%s, %s %v: %v", name, kind, at(o, "metadata", "name"), err)
			}
		}
		for of, pod := range pods(t, stream) {
			if isBystander(of) {
				continue
			}
			count++
			if _, err := s.createPod("shop", pod); err != nil {
				t.Errorf("%s, the pod of %s: %v", name, of, err)
			}
		}
	}
	for _, kind := range []string{"ConfigMap", "Service", "Deployment", "StatefulSet", "Job", "CronJob", "Pod", "NetworkPolicy", "PodMonitor",
		"PrometheusRule", "MutatingAdmissionPolicy", "MutatingAdmissionPolicyBinding"} {
		if !kinds[kind] {
			t.Errorf("no %s was tried", kind)
		}
	}
	t.Logf("%d objects and pods of %d streams, of %d kinds", count, len(streams), len(kinds))
}

// Goal: the server finds what it is there for: each mistake in a pod that a chart could make is refused, in the words that the check
// without a server expects.
func serverFindsMistakes(t *testing.T, s *server) {
	s.namespace(t, "mistakes")
	for _, mistake := range podMistakes {
		for of, pod := range pods(t, render(t, caseNamed(t, "default"))) {
			if len(pod.Spec.InitContainers) == 0 {
				continue
			}
			mistake.plant(pod)
			if _, err := s.createPod("mistakes", pod); err == nil || !strings.Contains(err.Error(), mistake.says) {
				t.Errorf("%s in the pod of %s: %v", mistake.name, of, err)
			}
		}
	}
}

// Goal: the same for objects that are not pods.
func serverFindsMistakesInObjects(t *testing.T, s *server) {
	s.namespace(t, "wrong-objects")
	for _, mistake := range []struct {
		name, in, kind, says string
		plant                func(object)
	}{
		{"a key that nobody reads", "default", "Deployment", `unknown field "spec.replica"`, func(o object) { at(o, "spec").(object)["replica"] = 2 }},
		{"pods that the selector does not match", "default", "Deployment", "does not match template", func(o object) {
			at(o, "spec", "selector", "matchLabels").(object)["a"] = "b"
		}},
		{"root in a template", "default", "Deployment", "would violate PodSecurity", func(o object) {
			delete(at(o, "spec", "template", "spec").(object), "securityContext")
			first := at(o, "spec", "template", "spec", "initContainers").([]any)[0].(object)
			delete(first, "securityContext")
		}},
		{"a rule that is no PromQL structure", "everything", "PrometheusRule", "spec.groups", func(o object) {
			at(o, "spec").(object)["groups"] = "all"
		}},
		{"a monitor without a selector", "everything", "PodMonitor", "spec.selector", func(o object) { delete(at(o, "spec").(object), "selector") }},
		{"a policy whose expression is none", "injection", "MutatingAdmissionPolicy", "expression", func(o object) {
			first := at(o, "spec", "mutations").([]any)[0].(object)
			at(first, "jsonPatch").(object)["expression"] = "[JSONPatch{op: }]"
		}},
		{"a policy that asks for what pods do not have", "injection", "MutatingAdmissionPolicy", "expression", func(o object) {
			first := at(o, "spec", "matchConditions").([]any)[0].(object)
			first["expression"] = "objekt.spec == null"
		}},
		{"a policy of a port that is none", "everything", "NetworkPolicy", "spec.egress", func(o object) {
			at(o, "spec").(object)["egress"] = []any{object{"ports": []any{object{"port": 70000, "protocol": "TCP"}}}}
		}},
	} {
		found := 0
		for _, o := range objects(t, render(t, caseNamed(t, mistake.in))) {
			if o["kind"] != mistake.kind {
				continue
			}
			found++
			mistake.plant(o)
			if _, err := s.create("wrong-objects", o, dry); err == nil || !strings.Contains(err.Error(), mistake.says) {
				t.Errorf("%s: %v", mistake.name, err)
			}
		}
		if found == 0 {
			t.Errorf("%s: no %s", mistake.name, mistake.kind)
		}
	}
}

// Goal: whichever way a team takes, its cluster gives the same sidecar, with all that the server adds: the chart, the kustomize component,
// `dualstream inject` and the admission policy. Only the pod that asks for it is changed, and only once.
func serverInjectsTheSame(t *testing.T, s *server) {
	s.namespace(t, "ways")
	chart := func(set string) string {
		out, said, ok := run(t, tool(t, "helm4"), "template", "demo", root(t, "helm", "dualstream"), "--namespace", "ways", "--kube-version",
			"1.37.0", "--set", "config.kafka.brokers=kafka:9092,fullnameOverride=dualstream,image.tag=latest,"+set)
		if !ok {
			t.Fatal(said)
		}
		return out
	}
	s.install(t, "ways", chart("injection.enabled=true,demo.enabled=false"))
	bare, full := asking(corev1.PodSpec{Containers: []corev1.Container{app("shop")}}), asking(furnished().Spec)
	s.untilInjected(t, "ways", bare)

	sidecars := map[string]corev1.Container{}
	for name, pod := range map[string]*corev1.Pod{"bare": bare, "furnished": full} {
		policys := s.made(t, "ways", pod)
		sidecars["policy, "+name] = policys.Spec.InitContainers[0]
		text := asText(t, pod)
		var injected corev1.Pod
		out := inject(t, "apiVersion: v1\nkind: Pod\n"+text, "--brokers", "kafka:9092", "--name", "dualstream", "--no-config-map",
			"--image", "dualstream:latest")
		if err := yaml.UnmarshalStrict([]byte(out), &injected); err != nil {
			t.Fatal(err)
		}
		again := s.made(t, "ways", &injected)
		sidecars["inject, "+name] = again.Spec.InitContainers[0]
		// The policy sets the group alone.
		again.Spec.SecurityContext.FSGroupChangePolicy = nil
		if !reflect.DeepEqual(policys.Spec, again.Spec) {
			t.Errorf("%s: the policy's pod:\n%s\ninjected, and seen by the policy:\n%s", name, asText(t, policys.Spec), asText(t, again.Spec))
		}
		if other := s.made(t, "elsewhere", pod); len(other.Spec.InitContainers) != len(pod.Spec.InitContainers) {
			t.Errorf("%s: a pod of another namespace was changed", name)
		}
		silent := pod.DeepCopy()
		silent.Labels = nil
		if other := s.made(t, "ways", silent); len(other.Spec.InitContainers) != len(pod.Spec.InitContainers) {
			t.Errorf("%s: a pod that did not ask was changed", name)
		}
	}
	for name, pod := range pods(t, chart("demo.enabled=true")) {
		if strings.HasPrefix(name, "Deployment") {
			sidecars["chart"] = s.made(t, "elsewhere", pod).Spec.InitContainers[0]
		}
	}
	for name, pod := range pods(t, kustomize(t, root(t, "kustomize", "example"))) {
		if isBystander(name) {
			continue
		}
		first := s.made(t, "elsewhere", pod).Spec.InitContainers[0]
		// The example names a registry of its own.
		first.Image, first.ImagePullPolicy = "dualstream:latest", sidecars["chart"].ImagePullPolicy
		sidecars["kustomize, "+name] = first
	}
	for name, sidecar := range sidecars {
		if wanted := sidecars["chart"]; !reflect.DeepEqual(sidecar, wanted) {
			t.Errorf("the sidecar of %s:\n%s\nof the chart:\n%s", name, asText(t, sidecar), asText(t, wanted))
		}
	}
	if len(sidecars) != 7 {
		t.Errorf("%d sidecars were compared", len(sidecars))
	}
}

// Goal: with TLS, passwords and Redis as well, the pod that the policy makes has the chart's sidecar and the chart's volumes.
func serverInjectsTheChartsPod(t *testing.T, s *server) {
	s.namespace(t, "secrets")
	stream := strings.ReplaceAll(render(t, caseNamed(t, "injection")), "kubernetes.io/metadata.name: shop", "kubernetes.io/metadata.name: secrets")
	s.install(t, "secrets", stream)
	pod := asking(furnished().Spec)
	s.untilInjected(t, "secrets", pod)
	got, wanted := s.made(t, "secrets", pod), s.made(t, "elsewhere", chartsPod(t))
	if !reflect.DeepEqual(got.Spec.InitContainers[0], wanted.Spec.InitContainers[0]) {
		t.Errorf("the sidecar:\n%s\nof the chart:\n%s", asText(t, got.Spec.InitContainers[0]), asText(t, wanted.Spec.InitContainers[0]))
	}
	of := func(pod *corev1.Pod) map[string]corev1.Volume {
		found := map[string]corev1.Volume{}
		for _, volume := range pod.Spec.Volumes {
			if strings.HasPrefix(volume.Name, "dualstream-") {
				found[volume.Name] = volume
			}
		}
		return found
	}
	if !reflect.DeepEqual(of(got), of(wanted)) || len(of(got)) != 4 {
		t.Errorf("volumes:\n%s\nof the chart:\n%s", asText(t, of(got)), asText(t, of(wanted)))
	}
	if len(got.Spec.InitContainers) != 2 || *got.Spec.TerminationGracePeriodSeconds != 300 {
		t.Errorf("what was there before has changed:\n%s", asText(t, got.Spec))
	}
}

// isBystander: the workload of kustomize/example that the component leaves alone, which is not as the standard wants it.
func isBystander(name string) bool { return strings.HasSuffix(name, "other") }

// install makes the objects of a stream for good.
func (s *server) install(t *testing.T, namespace, stream string) {
	t.Helper()
	for _, o := range objects(t, stream) {
		if _, err := s.create(namespace, o, metav1.CreateOptions{FieldValidation: metav1.FieldValidationStrict}); err != nil {
			t.Fatalf("%v: %v", o["kind"], err)
		}
	}
}

// untilInjected waits until the server has taken note of a policy that it has been given.
func (s *server) untilInjected(t *testing.T, namespace string, pod *corev1.Pod) {
	t.Helper()
	waitFor(t, "the admission policy", func() error {
		made, err := s.createPod(namespace, pod)
		if err != nil {
			return err
		}
		if len(made.Spec.InitContainers) == len(pod.Spec.InitContainers) {
			return errors.New("the pod is as it was")
		}
		return nil
	})
}

// made is the pod that the server makes of one, without the volume of a service account's token, which has a name by chance.
func (s *server) made(t *testing.T, namespace string, pod *corev1.Pod) *corev1.Pod {
	t.Helper()
	given, no := pod.DeepCopy(), false
	given.Spec.AutomountServiceAccountToken = &no
	made, err := s.createPod(namespace, given)
	if err != nil {
		t.Fatal(err)
	}
	return made
}

// asking is a pod that asks for the relay, and is otherwise what the restricted standard wants.
func asking(spec corev1.PodSpec) *corev1.Pod {
	yes := true
	if spec.SecurityContext == nil {
		spec.SecurityContext = &corev1.PodSecurityContext{}
	}
	spec.SecurityContext.RunAsNonRoot = &yes
	spec.SecurityContext.SeccompProfile = &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault}
	meta := metav1.ObjectMeta{Name: "pod", Labels: map[string]string{"dualstream/inject": "true"}}
	return &corev1.Pod{ObjectMeta: meta, Spec: spec}
}

// secured gives workloads that were not written for it what the restricted standard wants.
func secured(t *testing.T, stream string) string {
	t.Helper()
	var out strings.Builder
	for _, o := range objects(t, stream) {
		if path := podTemplatePath(fmt.Sprint(o["kind"])); path != nil {
			spec := at(at(o, path...), "spec").(object)
			spec["securityContext"] = object{"runAsNonRoot": true, "seccompProfile": object{"type": "RuntimeDefault"}}
			for _, list := range []string{"initContainers", "containers"} {
				containers, _ := spec[list].([]any)
				for _, container := range containers {
					container.(object)["securityContext"] = object{"allowPrivilegeEscalation": false, "capabilities": object{"drop": []any{"ALL"}}}
				}
			}
		}
		out.WriteString("---\n" + asText(t, o))
	}
	return out.String()
}
