package helm

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"
)

// Goal: `dualstream inject` makes of an application without the relay the pod that the chart makes, down to the last field, and the same
// configuration; injecting again changes nothing.
func TestInjectGivesTheChartsPod(t *testing.T) {
	for name, c := range map[string]struct{ flags, toml string }{
		"default":     {flags: "--brokers kafka:9092 --topic events --max-bytes 1GiB --drain-time 25s"},
		"ephemeral":   {flags: "--storage ephemeral --storage-size 30Gi", toml: "[buffer]\nmax_bytes = \"20GiB\"\nmin_free_bytes = \"1GiB\"\n"},
		"claim":       {flags: "--storage existingClaim --claim outbox --no-socket", toml: "[buffer]\nmax_bytes = \"1GiB\"\n"},
		"old-cluster": {flags: "--brokers kafka:9092 --topic events --max-bytes 1GiB --drain-time 25s --fallback --app-seconds 20"},
	} {
		t.Run(name, func(t *testing.T) {
			stream := render(t, caseNamed(t, name))
			wanted, config := deploymentOf(t, stream)
			flags := append(strings.Fields(c.flags), "--name", "demo-dualstream")
			if c.toml != "" {
				file := written(t, c.toml+"[kafka]\nbrokers = \"kafka:9092\"\ntopic = \"events\"\n[shutdown]\ngrace = \"25s\"\n")
				flags = append(flags, "--config", file)
			}
			bare, _ := deploymentOf(t, stream)
			strip(bare)
			encoded, err := yaml.Marshal(bare)
			if err != nil {
				t.Fatal(err)
			}
			once := inject(t, string(encoded), flags...)
			got, relayToml := deploymentOf(t, once)
			for _, o := range []object{wanted, got} {
				annotations := at(o, "spec", "template", "metadata", "annotations").(object)
				// Of two texts that say the same.
				if len(annotations["dualstream/config-checksum"].(string)) != 64 {
					t.Error("no checksum of the configuration")
				}
				delete(annotations, "dualstream/config-checksum")
			}
			if !reflect.DeepEqual(wanted, got) {
				t.Errorf("the chart's:\n%s\ninjected:\n%s", asText(t, wanted), asText(t, got))
			}
			if said := strings.ReplaceAll(relayToml, "\n\n", "\n"); said != strings.TrimLeft(config, "\n") {
				t.Errorf("the chart's configuration:\n%s\ninjected:\n%s", config, said)
			}
			relayTakes(t, name, relayToml)
			if again := inject(t, once, flags...); again != once {
				t.Errorf("a second time: %s", difference(once, again))
			}
			for _, pod := range pods(t, once) {
				for _, complaint := range complaints(t, pod) {
					t.Error(complaint)
				}
			}
		})
	}
}

// Goal: the component and inject give the same pods, of a Deployment and of a CronJob.
func TestInjectGivesTheComponentsPods(t *testing.T) {
	built := kustomize(t, root(t, "kustomize", "example"))
	manifests := readText(t, "kustomize", "example", "shop.yaml")
	out := inject(t, manifests, "--config", root(t, "kustomize", "example", "relay.toml"), "--no-config-map",
		"--image", "registry.example/dualstream:0.1.0", "--only", "Deployment/shop", "--only", "CronJob/report")
	for _, name := range []string{"shop", "report"} {
		wanted, got := at(podOf(t, built, name), "spec"), at(podOf(t, out, name), "spec")
		if !reflect.DeepEqual(at(wanted, "initContainers"), at(got, "initContainers")) {
			t.Errorf("%s: the component's:\n%s\ninjected:\n%s", name, asText(t, at(wanted, "initContainers")), asText(t, at(got, "initContainers")))
		}
		if at(wanted, "terminationGracePeriodSeconds") != at(got, "terminationGracePeriodSeconds") {
			t.Errorf("%s: grace", name)
		}
		if len(at(wanted, "volumes").([]any)) != len(at(got, "volumes").([]any)) {
			t.Errorf("%s: volumes", name)
		}
	}
	if !strings.HasSuffix(out, manifests[strings.LastIndex(manifests, "---"):]) {
		t.Error("what was not meant was changed")
	}
}

// Goal: a pod that inject has changed is the one that the admission policy would have made of it, whatever was in it before.
func TestInjectGivesThePolicysPod(t *testing.T) {
	stream, said, ok := run(t, tool(t, "helm4"), "template", "demo", root(t, "helm", "dualstream"), "--namespace", "shop", "--kube-version",
		"1.37.0", "--set", "config.kafka.brokers=kafka:9092,injection.enabled=true,demo.enabled=false")
	if !ok {
		t.Fatal(said)
	}
	for name, pod := range map[string]*corev1.Pod{
		"bare":      {Spec: corev1.PodSpec{Containers: []corev1.Container{app("shop")}}},
		"furnished": furnished(),
	} {
		pod.Name, pod.Namespace, pod.Labels = "pod", "shop", map[string]string{"dualstream/inject": "true"}
		pod.APIVersion, pod.Kind = "v1", "Pod"
		encoded, err := yaml.Marshal(pod)
		if err != nil {
			t.Fatal(err)
		}
		var got corev1.Pod
		out := inject(t, string(encoded), "--brokers", "kafka:9092", "--name", "demo-dualstream", "--no-config-map")
		if err := yaml.UnmarshalStrict([]byte(out), &got); err != nil {
			t.Fatal(err)
		}
		// The policy sets the group alone.
		got.Spec.SecurityContext.FSGroupChangePolicy = nil
		if wanted := admit(t, stream, pod); !reflect.DeepEqual(wanted.Spec, got.Spec) || !reflect.DeepEqual(wanted.Labels, got.Labels) {
			t.Errorf("%s: the policy's:\n%s\ninjected:\n%s", name, asText(t, wanted), asText(t, got))
		}
	}
}

// inject is what `dualstream inject` makes of manifests.
func inject(t *testing.T, manifests string, flags ...string) string {
	t.Helper()
	out, said, ok := run(t, relayProgram(t), append(append([]string{"inject"}, flags...), written(t, manifests))...)
	if !ok {
		t.Fatal(said)
	}
	return out
}

func written(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "in")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// deploymentOf gives a stream's Deployment, and the relay's configuration.
func deploymentOf(t *testing.T, stream string) (deployment object, config string) {
	t.Helper()
	for _, o := range objects(t, stream) {
		switch o["kind"] {
		case "Deployment":
			deployment = o
		case "ConfigMap":
			config = at(o, "data", "relay.toml").(string)
		}
	}
	if deployment == nil || config == "" {
		t.Fatalf("no Deployment or no configuration in\n%s", stream)
	}
	return deployment, config
}

// strip takes out of a Deployment all that makes the relay.
func strip(deployment object) {
	pod := at(deployment, "spec", "template").(object)
	delete(at(pod, "metadata", "labels").(object), "dualstream/relay")
	delete(at(pod, "metadata", "annotations").(object), "dualstream/config-checksum")
	spec := pod["spec"].(object)
	for _, field := range []string{"initContainers", "terminationGracePeriodSeconds", "volumes"} {
		delete(spec, field)
	}
	for _, field := range []string{"fsGroup", "fsGroupChangePolicy"} {
		delete(spec["securityContext"].(object), field)
	}
	application := spec["containers"].([]any)[0].(object)
	delete(application, "env")
	delete(application, "volumeMounts")
	spec["containers"] = []any{application}
}

func asText(t testing.TB, value any) string {
	t.Helper()
	encoded, err := yaml.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return string(encoded)
}
