package helm

import (
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/yannh/kubeconform/pkg/validator"
	"sigs.k8s.io/yaml"
)

// Goal: every object is accepted by the schema of every supported Kubernetes version, and by the Prometheus operator's.
func TestSchemas(t *testing.T) {
	crds := crdSchemas(t)
	for _, version := range kubernetes {
		check := conform(t, version, crds)
		for _, c := range cases(t) {
			if c.version > version && c.name == "injection" {
				// The policy is of 1.36; the chart refuses it before.
				continue
			}
			for _, problem := range problems(check, render(t, c)) {
				t.Errorf("%s on %s: %s", c.name, version, problem)
			}
		}
	}
}

// Goal: the check above finds what it is there for.
func TestSchemasFindMistakes(t *testing.T) {
	crds := crdSchemas(t)
	everything := render(t, caseNamed(t, "everything"))
	for _, mistake := range []struct{ version, from, to string }{
		{"1.33.0", "terminationGracePeriodSeconds:", "terminationGracePeriod:"},
		{"1.33.0", "periodSeconds: 1", "periodSeconds: often"},
		{"1.33.0", "sizeLimit: 1Mi", "sizeLimits: 1Mi"},
		{"1.29.0", "podMetricsEndpoints:", "podMetricEndpoints:"},
		{"1.37.0", "alert: DualstreamRelayDown", "alerts: DualstreamRelayDown"},
		{"1.37.0", "matchLabels:", "matchLabel:"},
	} {
		broken := strings.ReplaceAll(everything, mistake.from, mistake.to)
		if broken == everything || len(problems(conform(t, mistake.version, crds), broken)) == 0 {
			t.Errorf("%s is not found on %s", mistake.to, mistake.version)
		}
	}
}

func caseNamed(t testing.TB, name string) chartCase {
	t.Helper()
	for _, c := range cases(t) {
		if c.name == name {
			return c
		}
	}
	t.Fatalf("no case %s", name)
	return chartCase{}
}

func conform(t testing.TB, version, crds string) validator.Validator {
	t.Helper()
	core := root(t, ".cache", "k8s-schemas")
	locations := []string{
		core + "/{{ .NormalizedKubernetesVersion }}{{ .StrictSuffix }}/{{ .ResourceKind }}{{ .KindSuffix }}.json",
		crds + "/{{ .ResourceKind }}{{ .KindSuffix }}.json",
	}
	check, err := validator.New(locations, validator.Opts{KubernetesVersion: version, Strict: true})
	if err != nil {
		t.Fatal(err)
	}
	return check
}

func problems(check validator.Validator, stream string) []string {
	var found []string
	for _, result := range check.Validate("render", io.NopCloser(strings.NewReader(stream))) {
		if result.Status != validator.Valid && result.Status != validator.Empty {
			found = append(found, string(result.Resource.Bytes[:min(80, len(result.Resource.Bytes))])+": "+errorText(result.Err))
		}
	}
	return found
}

func errorText(err error) string {
	if err == nil {
		return "not valid"
	}
	return err.Error()
}

// crdSchemas makes closed schemas of the Prometheus operator's definitions.
func crdSchemas(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	for _, file := range glob(t, root(t, ".cache", "k8s-schemas", "crds", "*.yaml")) {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var definition object
		if err := yaml.Unmarshal(text, &definition); err != nil {
			t.Fatal(err)
		}
		kind := strings.ToLower(at(definition, "spec", "names", "kind").(string))
		group := strings.Split(at(definition, "spec", "group").(string), ".")[0]
		for _, version := range at(definition, "spec", "versions").([]any) {
			schema := at(version, "schema", "openAPIV3Schema")
			closeObjects(schema)
			encoded, err := json.Marshal(schema)
			if err != nil {
				t.Fatal(err)
			}
			name := kind + "-" + group + "-" + version.(object)["name"].(string) + ".json"
			if err := os.WriteFile(filepath.Join(dir, name), encoded, 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	return dir
}

// closeObjects refuses fields that a definition does not name, as the API server does when asked to be strict.
func closeObjects(schema any) {
	switch part := schema.(type) {
	case object:
		_, hasProperties := part["properties"].(object)
		_, isOpen := part["additionalProperties"]
		if hasProperties && !isOpen && part["x-kubernetes-preserve-unknown-fields"] != true {
			part["additionalProperties"] = false
		}
		// Kubernetes' own word for "a number or a text".
		if part["x-kubernetes-int-or-string"] == true {
			delete(part, "type")
		}
		// The root's metadata and the like are Kubernetes' own.
		if part["type"] == "object" && !hasProperties && !isOpen {
			part["additionalProperties"] = true
		}
		for _, below := range part {
			closeObjects(below)
		}
	case []any:
		for _, below := range part {
			closeObjects(below)
		}
	}
}
