package helm

import (
	"fmt"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

// Goal: whoever changes the chart sees what it changes in a cluster; and the examples show what they render.
func TestRendersAreKept(t *testing.T) {
	for _, c := range cases(t) {
		path := filepath.Join("golden", c.name+".yaml")
		if example, ok := strings.CutPrefix(c.name, "example-"); ok {
			path = root(t, "helm", "examples", example, "rendered.yaml")
		}
		golden(t, path, tidy(render(t, c)))
	}
}

// tidy leaves out what differs between versions of helm and means nothing.
func tidy(stream string) string {
	return strings.ReplaceAll(strings.TrimRight(stream, "\n"), "\n\n---", "\n---") + "\n"
}

// Goal: it does not matter which helm a platform team has.
func TestHelm3AndHelm4RenderTheSame(t *testing.T) {
	for _, c := range cases(t) {
		out, said, ok := run(t, tool(t, "helm3"), append([]string{"template"}, c.arguments()...)...)
		if !ok {
			t.Errorf("%s does not render with helm 3: %s", c.name, said)
			continue
		}
		if got, wanted := objects(t, out), objects(t, render(t, c)); !reflect.DeepEqual(got, wanted) {
			t.Errorf("%s: helm 3 and helm 4 differ", c.name)
		}
	}
}

// Goal: helm lint has nothing to say, not even a warning.
func TestLint(t *testing.T) {
	for _, c := range cases(t) {
		for _, helm := range helms {
			arguments := []string{"lint", "--strict", c.chart, "--kube-version", c.version}
			if c.values != "" {
				arguments = append(arguments, "--values", c.values)
			}
			out, said, ok := run(t, tool(t, helm), arguments...)
			if !ok || strings.Contains(out, "[WARNING]") {
				t.Errorf("%s, %s: %s%s", c.name, helm, out, said)
			}
		}
	}
}

// Goal: two releases in one namespace, or two relays in one chart under two names, do not share an object.
func TestReleasesDoNotShareObjects(t *testing.T) {
	seen := map[string]string{}
	for _, release := range []string{"one", "two"} {
		out, said, ok := run(t, tool(t, "helm4"), "template", release, root(t, "helm", "dualstream"), "--kube-version", "1.33.0",
			"--values", "values/everything.yaml")
		if !ok {
			t.Fatal(said)
		}
		for _, o := range objects(t, out) {
			name := fmt.Sprint(o["kind"], " ", at(o, "metadata", "name"))
			if other := seen[name]; other != "" {
				t.Errorf("%s is in release %s and in %s", name, other, release)
			}
			seen[name] = release
		}
	}
}

// Goal: a changed configuration makes new pods, an unchanged one does not.
func TestConfigurationChangesMakeNewPods(t *testing.T) {
	checksum := func(set string) any {
		out, said, ok := run(t, tool(t, "helm4"), "template", "demo", root(t, "helm", "dualstream"), "--kube-version", "1.33.0",
			"--set", "config.kafka.brokers=kafka:9092", "--set", set)
		if !ok {
			t.Fatal(said)
		}
		for _, o := range objects(t, out) {
			if o["kind"] == "Deployment" {
				return at(o, "spec", "template", "metadata", "annotations", "dualstream/config-checksum")
			}
		}
		return nil
	}
	one, same, other := checksum("service.enabled=true"), checksum("service.enabled=false"), checksum("config.kafka.topic=other")
	if one == nil || one != same || one == other {
		t.Errorf("checksums %v, %v, %v", one, same, other)
	}
}

// Goal: a chart that has this one as a dependency gets the sidecar, not the demonstration.
func TestDependencyBringsNoDemonstration(t *testing.T) {
	for _, c := range cases(t) {
		for _, o := range objects(t, render(t, c)) {
			name := fmt.Sprint(at(o, "metadata", "name"))
			if strings.HasPrefix(c.name, "example-") && (strings.HasSuffix(name, "-demo") || strings.HasSuffix(name, "-test")) {
				t.Errorf("%s has %v %s", c.name, o["kind"], name)
			}
		}
	}
}
