package helm

import (
	"strings"
	"testing"
)

// Goal: whoever installs the chart is told how long a pod may take to stop, how much disk it may take, and what the volume does not
// survive.
func TestNotesTellTheBudgets(t *testing.T) {
	t.Setenv("KUBECONFIG", "/dev/null")
	for set, wanted := range map[string][]string{
		"storage.type=emptyDir":                          {"60 s in all", "1073741824 bytes", "it has 1344Mi", "goes with the pod"},
		"storage.type=claimTemplate":                     {"it has 1408Mi"},
		"networkPolicy.enabled=true":                     {"WARNING: the NetworkPolicy selects the whole pod"},
		"nativeSidecar=false":                            {"WARNING: nativeSidecar is false", "does not end by itself"},
		"config.buffer.max_bytes=10GiB":                  {"10737418240 bytes", "it has 12864Mi"},
		"termination.gracePeriodSeconds=200":             {"200 s in all"},
		"storage.type=existingClaim,storage.claimName=c": {"see that the claim c has it"},
	} {
		// Helm 3 asks a cluster even for this.
		out, said, ok := run(t, tool(t, "helm4"), "install", "demo", root(t, "helm", "dualstream"), "--dry-run=client",
			"--set", "config.kafka.brokers=kafka:9092", "--set", set)
		_, notes, _ := strings.Cut(out, "\nNOTES:\n")
		for _, words := range wanted {
			if !ok || !strings.Contains(notes, words) {
				t.Errorf("%s: no %q in\n%s%s", set, words, notes, said)
			}
		}
	}
}
