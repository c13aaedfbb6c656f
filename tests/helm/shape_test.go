package helm

import (
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

// Goal: in every pod the relay starts before the application and stops after it, has a start gate, and needs nothing outside the pod to
// be called alive.
func TestTheRelayIsANativeSidecar(t *testing.T) {
	seen := 0
	for _, c := range cases(t) {
		for name, pod := range pods(t, render(t, c)) {
			if len(pod.Spec.Containers) == 1 && pod.Spec.Containers[0].Name == "ready" || c.name == "old-cluster" || c.name == "orphans" {
				continue
			}
			seen++
			sidecar := pod.Spec.InitContainers[0]
			switch {
			case sidecar.Name != "dualstream":
				t.Errorf("%s, %s: the relay is not the first of initContainers", c.name, name)
			case sidecar.RestartPolicy == nil || *sidecar.RestartPolicy != corev1.ContainerRestartPolicyAlways:
				t.Errorf("%s, %s: restartPolicy", c.name, name)
			case sidecar.StartupProbe == nil || sidecar.StartupProbe.HTTPGet.Path != "/startupz":
				t.Errorf("%s, %s: no start gate", c.name, name)
			case sidecar.LivenessProbe.HTTPGet.Path != "/livez":
				t.Errorf("%s, %s: liveness", c.name, name)
			case (sidecar.ReadinessProbe != nil) != (c.name == "everything"):
				t.Errorf("%s, %s: a full buffer would take the pod out of its Services", c.name, name)
			}
		}
	}
	if seen < 8 {
		t.Errorf("only %d pods", seen)
	}
}

// Goal: a full buffer gets no pod evicted: the volume has room for more than buffer.max_bytes, and nothing limits the pod's storage below
// it.
func TestVolumesHoldTheWholeBuffer(t *testing.T) {
	const mib = 1 << 20
	for name, most := range map[string]int64{
		"default": 1024 * mib, "everything": 3 * 1024 * mib, "stateful": 512_000_000, "ephemeral": 20 * 1024 * mib, "old-cluster": 1024 * mib,
		"example-deployment": 2 * 1024 * mib, "example-statefulset": 10 * 1024 * mib, "example-job": 256 * mib, "example-cronjob": 64 * mib,
	} {
		stream := render(t, caseNamed(t, name))
		sizes := volumeSizes(t, stream)
		if len(sizes) != 1 {
			t.Errorf("%s: %d volumes for the buffer", name, len(sizes))
		}
		for _, size := range sizes {
			if size < most+most/4 || size > most*3/2+2*1024*mib {
				t.Errorf("%s: a volume of %d bytes for a buffer of %d", name, size, most)
			}
		}
		for pod, p := range pods(t, stream) {
			for _, container := range append(p.Spec.InitContainers, p.Spec.Containers...) {
				limit, isLimited := container.Resources.Limits[corev1.ResourceEphemeralStorage]
				if isLimited && limit.Value() < sizes[0] {
					t.Errorf("%s, %s: %s is limited to %v", name, pod, container.Name, &limit)
				}
			}
		}
	}
}

// volumeSizes are those of the buffer's volumes: limits of an emptyDir, requests of claims.
func volumeSizes(t testing.TB, stream string) []int64 {
	t.Helper()
	var sizes []int64
	for _, pod := range pods(t, stream) {
		for _, volume := range pod.Spec.Volumes {
			switch {
			case volume.Name != "dualstream-buffer":
			case volume.EmptyDir != nil:
				sizes = append(sizes, volume.EmptyDir.SizeLimit.Value())
			case volume.Ephemeral != nil:
				request := volume.Ephemeral.VolumeClaimTemplate.Spec.Resources.Requests[corev1.ResourceStorage]
				sizes = append(sizes, request.Value())
			}
		}
	}
	for _, o := range objects(t, stream) {
		claims, _ := at(o, "spec", "volumeClaimTemplates").([]any)
		for _, claim := range claims {
			sizes = append(sizes, quantity(t, at(claim, "spec", "resources", "requests", "storage")))
		}
	}
	return sizes
}

// Goal: the pod lives long enough after its signal for the application to stop and for the relay to drain.
func TestGraceCoversApplicationAndDrain(t *testing.T) {
	for name, wanted := range map[string]int64{
		"default": 30 + 25 + 5, "everything": 180, "old-cluster": 20 + 25 + 5,
		"example-deployment": 20 + 25 + 5, "example-statefulset": 30 + 90 + 5, "example-job": 120 + 5, "example-cronjob": 25 + 5,
	} {
		for pod, p := range pods(t, render(t, caseNamed(t, name))) {
			if p.Spec.TerminationGracePeriodSeconds != nil && *p.Spec.TerminationGracePeriodSeconds != wanted {
				t.Errorf("%s, %s: %d seconds, not %d", name, pod, *p.Spec.TerminationGracePeriodSeconds, wanted)
			}
		}
	}
}

// Goal: on a cluster without native sidecars, where the relay hears of the end together with the application, it still takes the
// application's last events.
func TestWithoutNativeSidecarsTheRelayWaits(t *testing.T) {
	stream := render(t, caseNamed(t, "old-cluster"))
	for _, wanted := range []string{`linger = "20s"`, `grace = "45s"`, "terminationGracePeriodSeconds: 50"} {
		if !strings.Contains(stream, wanted) {
			t.Errorf("no %s", wanted)
		}
	}
	for name, pod := range pods(t, stream) {
		if strings.HasPrefix(name, "Deployment") && (len(pod.Spec.Containers) != 2 || len(pod.Spec.InitContainers) != 0) {
			t.Errorf("%s: %d containers", name, len(pod.Spec.Containers))
		}
	}
}

// Goal: passwords and keys are in no ConfigMap and in no annotation; they come from secrets alone.
func TestSecretsStayInSecrets(t *testing.T) {
	for _, c := range cases(t) {
		for _, o := range objects(t, render(t, c)) {
			if o["kind"] == "Secret" {
				t.Errorf("%s renders a secret", c.name)
			}
		}
	}
	stream := render(t, caseNamed(t, "everything"))
	for _, file := range []string{"kafka-ca.crt", "kafka-user.crt", "kafka-user.key", "redis-url"} {
		if !strings.Contains(stream, "path: "+file) || !strings.Contains(stream, "/etc/dualstream/secrets/"+file) {
			t.Errorf("%s is not mounted and used", file)
		}
	}
	for _, pod := range pods(t, stream) {
		for _, variable := range relayEnvironment(pod) {
			if strings.Contains(variable.Name, "PASSWORD") && variable.ValueFrom == nil {
				t.Errorf("%s has a value", variable.Name)
			}
		}
	}
}

func relayEnvironment(pod *corev1.Pod) []corev1.EnvVar {
	if len(pod.Spec.InitContainers) == 0 {
		return nil
	}
	return relay(pod).Env
}

// Goal: Service, PodMonitor and NetworkPolicy find the pods that the release makes.
func TestSelectorsMatchThePods(t *testing.T) {
	stream := render(t, caseNamed(t, "everything"))
	labels := map[string]string{}
	for name, pod := range pods(t, stream) {
		if strings.HasPrefix(name, "Deployment") {
			labels = pod.Labels
		}
	}
	seen := 0
	for _, o := range objects(t, stream) {
		selector := map[string][]string{
			"Service": {"spec", "selector"}, "PodMonitor": {"spec", "selector", "matchLabels"},
			"NetworkPolicy": {"spec", "podSelector", "matchLabels"}, "Deployment": {"spec", "selector", "matchLabels"},
		}[o["kind"].(string)]
		if selector == nil {
			continue
		}
		seen++
		wanted, _ := at(o, selector...).(object)
		for key, value := range wanted {
			if labels[key] != fmt.Sprint(value) {
				t.Errorf("%v selects %s=%v; the pods have %q", o["kind"], key, value, labels[key])
			}
		}
		if len(wanted) == 0 {
			t.Errorf("%v selects everything", o["kind"])
		}
	}
	if seen != 4 {
		t.Errorf("%d selectors", seen)
	}
}
