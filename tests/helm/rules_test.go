package helm

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

// Goal: each alert fires when it should and keeps quiet when it should, by Prometheus' own evaluation.
func TestAlertsFire(t *testing.T) {
	dir := t.TempDir()
	out, said, ok := run(t, tool(t, "helm4"), "template", "demo", root(t, "helm", "dualstream"), "--namespace", "shop", "--kube-version",
		"1.33.0", "--values", "values/default.yaml", "--set", "prometheusRule.enabled=true", "--show-only", "templates/prometheusrule.yaml")
	if !ok {
		t.Fatal(said)
	}
	rules, err := yaml.Marshal(at(objects(t, out)[0], "spec"))
	if err != nil {
		t.Fatal(err)
	}
	tests, err := os.ReadFile("rules/alerts_test.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string][]byte{"rules.yaml": rules, "alerts_test.yaml": tests} {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	promtool := tool(t, "promtool")
	if out, said, ok := run(t, promtool, "check", "rules", "--lint-fatal", filepath.Join(dir, "rules.yaml")); !ok {
		t.Errorf("%s%s", out, said)
	}
	if out, said, ok := run(t, promtool, "test", "rules", filepath.Join(dir, "alerts_test.yaml")); !ok {
		t.Errorf("%s%s", out, said)
	}
	for _, rule := range alerts(t) {
		name := rule["alert"].(string)
		if strings.Count(string(tests), "alertname: "+name+"\n") < 2 {
			t.Errorf("%s has no test that it fires and one that it does not", name)
		}
	}
	// A threshold that never is reached would pass every test of silence: the tests of fire must fail then.
	blunt := strings.ReplaceAll(string(rules), "> 0", "> 1000000")
	blunt = strings.NewReplacer("== 0", "== 7", "!= 0", "== 7", "> 300", "> 90000", ">= 1", ">= 7", "== 1", "== 7").Replace(blunt)
	if err := os.WriteFile(filepath.Join(dir, "rules.yaml"), []byte(blunt), 0o644); err != nil {
		t.Fatal(err)
	}
	out, said, _ = run(t, promtool, "test", "rules", filepath.Join(dir, "alerts_test.yaml"))
	for _, rule := range alerts(t) {
		if name := rule["alert"].(string); !strings.Contains(out+said, "alertname: "+name) {
			t.Errorf("%s: nothing notices that it never fires: %s%s", name, out, said)
		}
	}
}
