package helm

import (
	"os"
	"reflect"
	"strings"
	"testing"

	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"
)

const patchHead = `# Generated from the chart: UPDATE=1 make helm-check. What to change for a site (image, sizes, grace), change by a patch of your own.
`

// Goal: the component and the chart give the same sidecar, down to the last field, so that it does not matter which way a team takes.
func TestComponentIsTheChartsSidecar(t *testing.T) {
	out, said, ok := run(t, tool(t, "helm4"), "template", "demo", root(t, "helm", "dualstream"), "--kube-version", "1.33.0",
		"--set", "config.kafka.brokers=kafka:9092", "--set", "fullnameOverride=dualstream", "--show-only", "templates/demo.yaml",
		"--set", "image.tag=latest")
	if !ok {
		t.Fatal(said)
	}
	chart := at(objects(t, out)[0], "spec", "template")
	spec := at(chart, "spec").(object)
	template := object{"spec": object{
		"initContainers":                spec["initContainers"],
		"securityContext":               spec["securityContext"],
		"terminationGracePeriodSeconds": spec["terminationGracePeriodSeconds"],
		"volumes":                       spec["volumes"],
	}, "metadata": object{"labels": object{"dualstream/relay": "dualstream"}}}
	for file, body := range map[string]object{
		"sidecar.yaml": {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": object{"name": "any"},
			"spec": object{"template": template}},
		"sidecar-cronjob.yaml": {"apiVersion": "batch/v1", "kind": "CronJob", "metadata": object{"name": "any"},
			"spec": object{"jobTemplate": object{"spec": object{"template": template}}}},
	} {
		encoded, err := yaml.Marshal(body)
		if err != nil {
			t.Fatal(err)
		}
		golden(t, root(t, "kustomize", "dualstream", file), patchHead+string(encoded))
	}
	built := kustomize(t, root(t, "kustomize", "example"))
	for _, name := range []string{"shop", "report"} {
		pod := podOf(t, built, name)
		first := at(pod, "spec", "initContainers").([]any)[0].(object)
		wanted := spec["initContainers"].([]any)[0].(object)
		// The example names a registry of its own.
		first["image"] = wanted["image"]
		if !reflect.DeepEqual(first, wanted) {
			t.Errorf("%s: the component's container differs from the chart's:\n%v\n%v", name, first, wanted)
		}
		for _, part := range []string{"securityContext", "terminationGracePeriodSeconds"} {
			if !reflect.DeepEqual(at(pod, "spec", part), spec[part]) {
				t.Errorf("%s: %s differs", name, part)
			}
		}
	}
}

// Goal: the component leaves alone what is not labelled, comes before other init steps, and gives pods that the API server takes.
func TestComponentInAnOverlay(t *testing.T) {
	built := kustomize(t, root(t, "kustomize", "example"))
	if other := podOf(t, built, "other"); at(other, "spec", "initContainers") != nil || at(other, "spec", "volumes") != nil {
		t.Error("a workload without the label was changed")
	}
	steps := at(podOf(t, built, "shop"), "spec", "initContainers").([]any)
	if len(steps) != 2 || steps[0].(object)["name"] != "dualstream" || steps[1].(object)["name"] != "migrate" {
		t.Errorf("order of the init containers: %v", steps)
	}
	if !strings.Contains(built, "name: dualstream-config-") {
		t.Error("the name of the ConfigMap has no checksum")
	}
	count := 0
	for name, pod := range pods(t, built) {
		if strings.HasSuffix(name, "other") {
			continue
		}
		count++
		for _, complaint := range complaints(t, pod) {
			t.Errorf("%s: %s", name, complaint)
		}
	}
	if count != 2 {
		t.Errorf("%d pods", count)
	}
}

func kustomize(t testing.TB, dir string) string {
	t.Helper()
	built, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), dir)
	if err != nil {
		t.Fatal(err)
	}
	text, err := built.AsYaml()
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func podOf(t testing.TB, stream, name string) any {
	t.Helper()
	for _, o := range objects(t, stream) {
		if at(o, "metadata", "name") == name {
			return at(o, podTemplatePath(o["kind"].(string))...)
		}
	}
	t.Fatalf("no %s", name)
	return nil
}

// Goal: the relay takes the example's configuration.
func TestComponentConfiguration(t *testing.T) {
	text, err := os.ReadFile(root(t, "kustomize", "example", "relay.toml"))
	if err != nil {
		t.Fatal(err)
	}
	relayTakes(t, "kustomize/example", string(text))
}
