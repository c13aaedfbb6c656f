package helm

import (
	"encoding/json"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
)

// Goal: the chart's README and schema say what values.yaml and docs/config.md say.
func TestReadmeAndSchemaAreCurrent(t *testing.T) {
	if said, err := exec.Command("go", "run", "./chartdocs", "-check").CombinedOutput(); err != nil {
		t.Errorf("%s", said)
	}
}

var metricName = regexp.MustCompile(`\b(dualstream|process)_[a-z_]+`)

// Goal: no panel and no alert asks for a metric that the relay does not have.
func TestOnlyKnownMetricsAreAskedFor(t *testing.T) {
	known := map[string]bool{}
	for _, line := range strings.Split(readText(t, "docs", "metrics.md"), "\n") {
		if fields := strings.Split(line, "|"); len(fields) > 3 && strings.HasPrefix(line, "| `") {
			name := strings.Trim(fields[1], " `")
			known[name] = true
			if strings.TrimSpace(fields[2]) == "histogram" {
				known[name+"_bucket"], known[name+"_sum"], known[name+"_count"] = true, true, true
			}
		}
	}
	asked := map[string]string{}
	for _, query := range dashboardQueries(t) {
		asked[query] = "the dashboard"
	}
	for _, rule := range alerts(t) {
		asked[rule["expr"].(string)] = "an alert"
	}
	seen := map[string]bool{}
	for query, where := range asked {
		for _, name := range metricName.FindAllString(query, -1) {
			seen[name] = true
			if !known[name] {
				t.Errorf("%s asks for %s, which docs/metrics.md does not have: %s", where, name, query)
			}
		}
	}
	if len(known) < 30 || len(seen) < 25 {
		t.Errorf("%d metrics known, %d asked for", len(known), len(seen))
	}
}

// Goal: whoever is woken by an alert finds its section in the runbook.
func TestAlertsHaveRunbookSections(t *testing.T) {
	anchors := map[string]bool{}
	for _, line := range strings.Split(readText(t, "docs", "runbook.md"), "\n") {
		if title, ok := strings.CutPrefix(strings.TrimLeft(line, "#"), " "); ok && strings.HasPrefix(line, "#") {
			slug := strings.ReplaceAll(strings.ToLower(title), " ", "-")
			anchors[regexp.MustCompile(`[^a-z0-9_-]`).ReplaceAllString(slug, "")] = true
		}
	}
	for _, rule := range alerts(t) {
		name, _ := rule["alert"].(string)
		url, _ := at(rule, "annotations", "runbook_url").(string)
		_, anchor, ok := strings.Cut(url, "#")
		if !ok || !strings.Contains(anchor, "$labels.reason") && !anchors[anchor] {
			t.Errorf("%s: docs/runbook.md has no section %q", name, anchor)
		}
		if !strings.Contains(readText(t, "docs", "runbook.md"), "`"+name+"`") {
			t.Errorf("docs/runbook.md does not name %s", name)
		}
	}
}

func dashboardQueries(t testing.TB) []string {
	t.Helper()
	var dashboard struct {
		Panels []struct {
			Title       string
			Type        string
			Description string
			Targets     []struct{ Expr string }
		}
	}
	if err := json.Unmarshal([]byte(readText(t, "helm", "dualstream", "files", "dashboard.json")), &dashboard); err != nil {
		t.Fatal(err)
	}
	var queries []string
	for _, panel := range dashboard.Panels {
		if panel.Type != "row" && (panel.Description == "" || len(panel.Targets) == 0) {
			t.Errorf("panel %q has no description or no query", panel.Title)
		}
		for _, target := range panel.Targets {
			queries = append(queries, target.Expr)
		}
	}
	return queries
}

// alerts are the rules as they render.
func alerts(t testing.TB) []object {
	t.Helper()
	var found []object
	for _, o := range objects(t, render(t, caseNamed(t, "everything"))) {
		if o["kind"] != "PrometheusRule" {
			continue
		}
		for _, group := range at(o, "spec", "groups").([]any) {
			for _, rule := range group.(object)["rules"].([]any) {
				found = append(found, rule.(object))
			}
		}
	}
	if len(found) < 8 {
		t.Fatalf("%d alerts", len(found))
	}
	return found
}

func readText(t testing.TB, parts ...string) string {
	t.Helper()
	text, err := os.ReadFile(root(t, parts...))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
