package helm

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Goal: no configuration that the chart renders is refused by the relay.
func TestTheRelayTakesTheConfiguration(t *testing.T) {
	count := 0
	for _, c := range cases(t) {
		for _, o := range objects(t, render(t, c)) {
			if text, ok := at(o, "data", "relay.toml").(string); ok {
				count++
				relayTakes(t, c.name, text)
			}
		}
	}
	if count < 8 {
		t.Errorf("only %d configurations", count)
	}
}

// Goal: the check above finds a configuration that the relay does not take.
func TestTheRelayRefusesOtherConfigurations(t *testing.T) {
	for _, text := range []string{"[buffer]\nmax_byte = 1\n", "[kafka]\nproperties = { \"acks\" = \"1\" }\n", "[shutdown]\ngrace = 25\n"} {
		if said := relayCheck(t, text, nil); said == "" {
			t.Errorf("it takes %q", text)
		}
	}
}

// Goal: a password of Kafka is a file of its secret, so that it may hold any character and is taken when it is rotated; it is in no
// variable and in no ConfigMap.
func TestKafkaPasswordsAreFiles(t *testing.T) {
	stream := render(t, caseNamed(t, "plain-sasl"))
	if !strings.Contains(stream, `sasl_password_file = "/etc/dualstream/secrets/kafka-password"`) {
		t.Error("the relay is not told of the file")
	}
	if !strings.Contains(stream, `items: [{key: "pass", path: kafka-password}]`) {
		t.Error("the file is not mounted")
	}
	for _, pod := range pods(t, stream) {
		for _, variable := range relayEnvironment(pod) {
			if strings.Contains(variable.Name, "KAFKA") {
				t.Errorf("the variable %s", variable.Name)
			}
		}
	}
}

// withoutTLS is what a relay that was built without the feature kafka-tls says of the properties that need it; the image has it.
const withoutTLS = "this build of the program does not have"

func relayTakes(t *testing.T, name, text string) {
	t.Helper()
	// Paths of the container do not exist here; what is in the files is not this check's affair.
	for name, holds := range map[string]string{"redis-url": "redis://redis:6379/", "buffer-keys": strings.Repeat("0123456789abcdef", 4) + "\n"} {
		file := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(file, []byte(holds), 0o600); err != nil {
			t.Fatal(err)
		}
		text = strings.ReplaceAll(text, "/etc/dualstream/secrets/"+name, file)
	}
	said := relayCheck(t, text, nil)
	if said == "" {
		return
	}
	for _, line := range strings.Split(strings.TrimSpace(said), "\n") {
		if strings.HasPrefix(line, "FAIL") && !strings.Contains(line, withoutTLS) {
			t.Errorf("%s: the relay says: %s", name, line)
		}
	}
}

// relayCheck is what `dualstream check` finds wrong; nothing when the configuration is taken.
func relayCheck(t *testing.T, text string, environment []string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "relay.toml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, variable := range environment {
		name, value, _ := strings.Cut(variable, "=")
		t.Setenv(name, value)
	}
	out, said, ok := run(t, relayProgram(t), "check", "--config", file)
	if ok {
		return ""
	}
	return out + said
}

// relayProgram is the relay that configurations are tried on.
func relayProgram(t *testing.T) string {
	t.Helper()
	program := os.Getenv("DUALSTREAM")
	if program == "" {
		t.Fatal("DUALSTREAM is not set: the path of the relay; make helm-check sets it")
	}
	return program
}
