package helm

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Goal: whoever asks what is in the program gets every crate of its lock file that is built in, the C libraries, and each one's licence;
// crates for tests are not in it; and a bill that lacks something is not taken for one.
func TestBillOfMaterials(t *testing.T) {
	script, file := root(t, "scripts", "sbom.py"), filepath.Join(t.TempDir(), "bill.json")
	if said, err := exec.Command(script, "--features", "kafka-tls", "--out", file).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, said)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var bill object
	if err := json.Unmarshal(text, &bill); err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	for _, component := range bill["components"].([]any) {
		names[component.(object)["name"].(string)] = true
		inner, _ := component.(object)["components"].([]any)
		for _, library := range inner {
			names[library.(object)["name"].(string)] = true
		}
	}
	for _, wanted := range []string{"rdkafka", "tokio", "redis", "librdkafka", "zstd", "openssl"} {
		if !names[wanted] {
			t.Errorf("%s is not in it", wanted)
		}
	}
	for _, other := range []string{"proptest", "criterion", "shuttle", "windows-sys"} {
		if names[other] {
			t.Errorf("%s is in it", other)
		}
	}
	for what, broken := range map[string]string{
		"no licence":   strings.Replace(string(text), `"expression": "MIT`, `"text": "MIT`, 1),
		"no hash":      strings.Replace(string(text), `"hashes"`, `"sums"`, 1),
		"is not in it": strings.Replace(string(text), `"bom-ref": "pkg:cargo/tokio@`, `"bom-ref": "pkg:cargo/other@`, 1),
		"specVersion":  strings.Replace(string(text), `"specVersion": "1.6"`, `"specVersion": "1.0"`, 1),
	} {
		if err := os.WriteFile(file, []byte(broken), 0o600); err != nil {
			t.Fatal(err)
		}
		if said, err := exec.Command(script, "--check", file).CombinedOutput(); err == nil || !strings.Contains(string(said), what) {
			t.Errorf("%s: %v: %s", what, err, said)
		}
	}
}
