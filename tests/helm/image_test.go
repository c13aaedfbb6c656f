package helm

import (
	"encoding/json"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

// Goal: the image runs the relay as nobody, without a shell, and its health check is a command that the relay has.
func TestDockerfile(t *testing.T) {
	dockerfile := readText(t, "Dockerfile")
	_, runtime, ok := strings.Cut(dockerfile, "\nFROM ${RUNTIME_IMAGE}\n")
	// The builder of the default has zlib's headers, the runtime has no zlib; make image-check sees what the program really needs.
	if !strings.Contains(dockerfile, "\nENV LIBZ_SYS_STATIC=1\n") {
		t.Error("zlib is not built into the program")
	}
	if !ok || strings.Contains(runtime, "\nRUN ") {
		t.Error("the runtime stage is not there, or runs something")
	}
	for _, wanted := range []string{"\nUSER 65532:65532\n", "\nSTOPSIGNAL SIGTERM\n", "/usr/local/bin/dualstream\n",
		"org.opencontainers.image.version", "org.opencontainers.image.revision", "org.opencontainers.image.licenses"} {
		if !strings.Contains(runtime, wanted) {
			t.Errorf("no %q", wanted)
		}
	}
	for instruction, code := range map[string]int{"HEALTHCHECK .* CMD": 3, "ENTRYPOINT": 2} {
		found := regexp.MustCompile(`\n` + instruction + ` (\[.*\])\n`).FindStringSubmatch(runtime)
		var words []string
		if found == nil || json.Unmarshal([]byte(found[1]), &words) != nil || words[0] != "/usr/local/bin/dualstream" {
			t.Errorf("%s is not in exec form: %v", instruction, found)
			continue
		}
		// Without a relay the check cannot reach one (3), and the bare program asks for a command (2): both know what is meant.
		command := exec.Command(relayProgram(t), words[1:]...)
		_ = command.Run()
		if command.ProcessState.ExitCode() != code {
			t.Errorf("%v ends with %d, not %d", words, command.ProcessState.ExitCode(), code)
		}
	}
}

// Goal: the image builds: what the source includes from elsewhere in the repository is there, too.
func TestTheBuildHasWhatTheSourceIncludes(t *testing.T) {
	dockerfile, ignored := readText(t, "Dockerfile"), "\n"+readText(t, ".dockerignore")
	included, seen := regexp.MustCompile(`include_(?:str|bytes)!\("([^"]+)"\)`), 0
	err := filepath.WalkDir(root(t, "src"), func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || filepath.Ext(path) != ".rs" || entry.Name() == "tests.rs" {
			return err
		}
		text, err := os.ReadFile(path)
		for _, found := range included.FindAllStringSubmatch(string(text), -1) {
			file, err := filepath.Rel(root(t), filepath.Join(filepath.Dir(path), found[1]))
			if err != nil || strings.HasPrefix(file, "src/") {
				continue
			}
			seen++
			top, _, _ := strings.Cut(file, "/")
			if !strings.Contains(dockerfile, "\nCOPY "+file+" "+file+"\n") || !strings.Contains(ignored, "\n!"+top+"\n") {
				t.Errorf("%s includes %s, which the build of the image does not have", path, file)
			}
		}
		return err
	})
	if err != nil || seen == 0 {
		t.Errorf("%d files are included: %v", seen, err)
	}
}

// Goal: chart, image and program have one version, the compose file has the Kafka that the tests have, and Kubernetes is one and the same
// everywhere.
func TestVersionsAgree(t *testing.T) {
	first := func(pattern string, parts ...string) string {
		found := regexp.MustCompile(`(?m)` + pattern).FindStringSubmatch(readText(t, parts...))
		if found == nil {
			t.Fatalf("%v: no %s", parts, pattern)
		}
		return found[1]
	}
	version := first(`^version = "(.*)"$`, "Cargo.toml")
	for _, other := range []string{
		first(`^appVersion: "(.*)"$`, "helm", "dualstream", "Chart.yaml"), first(`^ARG VERSION=(.*)$`, "Dockerfile"),
	} {
		if other != version {
			t.Errorf("version %s, not %s", other, version)
		}
	}
	kubernetes := `^\tk8s.io/kubernetes (v\S+)( // indirect)?$`
	if one, other := first(kubernetes, "tests", "helm", "go.mod"), first(kubernetes, "tests", "helm", "apiserver", "go.mod"); one != other {
		t.Errorf("the checks have Kubernetes %s, the API server is %s", one, other)
	}
	compose := first(`image: apache/kafka:(.*)$`, "compose.yaml")
	if tested := first(`<kafka.version>(.*)</kafka.version>`, "tests", "kafka", "pom.xml"); compose != tested {
		t.Errorf("compose.yaml has Kafka %s, the tests %s", compose, tested)
	}
}

// Goal: the relay takes the settings of the compose file, and has time to drain.
func TestComposeSettings(t *testing.T) {
	var compose struct {
		Services map[string]struct {
			Environment map[string]string
		}
	}
	if err := yaml.Unmarshal([]byte(readText(t, "compose.yaml")), &compose); err != nil {
		t.Fatal(err)
	}
	var environment []string
	for name, value := range compose.Services["relay"].Environment {
		environment = append(environment, name+"="+value)
	}
	if len(environment) < 3 {
		t.Fatalf("environment: %v", environment)
	}
	if said := relayCheck(t, "", environment); said != "" {
		t.Error(said)
	}
}
