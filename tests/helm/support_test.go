// Package helm proves the chart and the kustomize component with the programs that their users have: helm 3 and 4, the schemas of three
// Kubernetes versions, the API server's own validation of pods, the pod security standard, promtool, and the relay itself.
//
// Run it by `make helm-check`. UPDATE=1 writes golden/ and what is generated, instead of comparing.
package helm

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"strings"
	"sync"
	"testing"

	"k8s.io/apimachinery/pkg/api/resource"
	"sigs.k8s.io/yaml"
)

// Kubernetes versions: the oldest with native sidecars on, the one where they are finished, the newest.
var kubernetes = []string{"1.29.0", "1.33.0", "1.37.0"}

var helms = []string{"helm3", "helm4"}

func root(t testing.TB, parts ...string) string {
	t.Helper()
	path, err := filepath.Abs(filepath.Join(append([]string{"..", ".."}, parts...)...))
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// tool is a program that scripts/deps-k8s.sh has put there.
func tool(t testing.TB, name string) string {
	t.Helper()
	path := root(t, ".cache", "tools", "bin", name)
	if _, err := os.Stat(path); err != nil {
		t.Fatalf("%s is missing: run scripts/deps-k8s.sh", path)
	}
	return path
}

// run gives the program's output and what it said on standard error; ok is whether it ended well.
func run(t testing.TB, program string, arguments ...string) (out, said string, ok bool) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	command := exec.Command(program, arguments...)
	command.Stdout, command.Stderr = &stdout, &stderr
	err := command.Run()
	if _, exited := err.(*exec.ExitError); err != nil && !exited {
		t.Fatal(err)
	}
	return stdout.String(), stderr.String(), err == nil
}

// chartCase is a chart with values, which has a golden render.
type chartCase struct {
	name    string
	chart   string
	values  string // a file, or none
	version string // of Kubernetes
}

func (c chartCase) arguments() []string {
	arguments := []string{"demo", c.chart, "--namespace", "shop", "--kube-version", c.version}
	if c.values != "" {
		arguments = append(arguments, "--values", c.values)
	}
	return arguments
}

// cases are all files of values/ for the chart itself, and the charts of helm/examples with it as their dependency.
func cases(t testing.TB) []chartCase {
	t.Helper()
	var found []chartCase
	for _, file := range glob(t, "values/*.yaml") {
		name := strings.TrimSuffix(filepath.Base(file), ".yaml")
		version := "1.33.0"
		switch {
		case strings.HasPrefix(name, "old-cluster"):
			version = "1.28.0"
		case name == "injection":
			version = "1.37.0"
		}
		found = append(found, chartCase{name, root(t, "helm", "dualstream"), file, version})
	}
	for _, chart := range glob(t, root(t, "helm", "examples", "*", "Chart.yaml")) {
		dir := filepath.Dir(chart)
		found = append(found, chartCase{"example-" + filepath.Base(dir), assembled(t, dir), "", "1.33.0"})
	}
	if len(found) < 8 {
		t.Fatalf("only %d cases", len(found))
	}
	return found
}

// assembled is a copy of an example with the chart in its charts folder, as `helm dependency build` would make it.
func assembled(t testing.TB, example string) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), filepath.Base(example))
	for from, to := range map[string]string{example: to, root(t, "helm", "dualstream"): filepath.Join(to, "charts", "dualstream")} {
		if err := os.CopyFS(to, os.DirFS(from)); err != nil {
			t.Fatal(err)
		}
	}
	return to
}

func glob(t testing.TB, pattern string) []string {
	t.Helper()
	found, err := filepath.Glob(pattern)
	if err != nil || len(found) == 0 {
		t.Fatalf("nothing matches %s (%v)", pattern, err)
	}
	sort.Strings(found)
	return found
}

var rendered sync.Map

// render is what helm 4 makes of a case.
func render(t testing.TB, c chartCase) string {
	t.Helper()
	if known, ok := rendered.Load(c.name); ok {
		return known.(string)
	}
	out, said, ok := run(t, tool(t, "helm4"), append([]string{"template"}, c.arguments()...)...)
	if !ok {
		t.Fatalf("%s does not render: %s", c.name, said)
	}
	rendered.Store(c.name, out)
	return out
}

type object = map[string]any

// objects are the documents of a stream.
func objects(t testing.TB, stream string) []object {
	t.Helper()
	var found []object
	for _, document := range strings.Split("\n"+stream, "\n---") {
		var one object
		// The newline that the split took belongs to a block of text that may end the document.
		if err := yaml.Unmarshal([]byte(document+"\n"), &one); err != nil {
			t.Fatalf("%v in\n%s", err, document)
		}
		if one != nil {
			found = append(found, one)
		}
	}
	return found
}

// at follows a path of names into an object; nil when it ends before.
func at(in any, path ...string) any {
	for _, name := range path {
		table, _ := in.(object)
		in = table[name]
	}
	return in
}

// podSpecPath is where an object of this kind has its pod.
func podTemplatePath(kind string) []string {
	switch kind {
	case "Deployment", "StatefulSet", "DaemonSet", "Job":
		return []string{"spec", "template"}
	case "CronJob":
		return []string{"spec", "jobTemplate", "spec", "template"}
	case "Pod":
		return []string{}
	}
	return nil
}

func isUpdate() bool { return os.Getenv("UPDATE") != "" }

// golden compares with a kept file, or writes it.
func golden(t *testing.T, path, got string) {
	t.Helper()
	if isUpdate() {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	wanted, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v; UPDATE=1 make helm-check writes it", err)
	}
	if string(wanted) != got {
		t.Errorf("%s differs; if that is meant, UPDATE=1 make helm-check writes it\n%s", path, difference(string(wanted), got))
	}
}

// difference shows the first lines that differ.
func difference(wanted, got string) string {
	w, g := strings.Split(wanted, "\n"), strings.Split(got, "\n")
	for i := range min(len(w), len(g)) {
		if w[i] != g[i] {
			return "- " + w[i] + "\n+ " + g[i]
		}
	}
	return "one is longer"
}

func quantity(t testing.TB, given any) int64 {
	t.Helper()
	parsed, err := resource.ParseQuantity(given.(string))
	if err != nil {
		t.Fatal(err)
	}
	return parsed.Value()
}
