package helm

import (
	"context"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/loader"
	"github.com/compose-spec/compose-go/v2/types"
)

// Goal: the compose file is one, by the specification's own parser and schema, and what it says of the relay is what was meant; a slip in it
// does not go unnoticed.
func TestComposeFile(t *testing.T) {
	text := readText(t, "compose.yaml")
	project, err := loadCompose(t, text)
	if err != nil {
		t.Fatal(err)
	}
	relay := project.Services["relay"]
	if !relay.ReadOnly || len(relay.CapDrop) != 1 || relay.StopGracePeriod == nil || len(relay.DependsOn) != 2 || len(relay.Volumes) != 1 {
		t.Errorf("relay: %+v", relay)
	}
	if app := project.Services["app"]; app.NetworkMode != "service:relay" || app.DependsOn["relay"].Condition != types.ServiceConditionHealthy {
		t.Errorf("the application does not share the relay's loopback, or does not wait for it: %+v", app)
	}
	for what, broken := range map[string]string{
		"an unknown key":     strings.Replace(text, "read_only:", "readonly:", 1),
		"a wrong type":       strings.Replace(text, "stop_grace_period: 30s", "stop_grace_period: [30s]", 1),
		"an unknown service": strings.Replace(text, "network_mode: service:relay", "network_mode: service:rely", 1),
		"an unknown volume":  strings.Replace(text, `volumes: ["buffer:`, `volumes: ["bufer:`, 1),
	} {
		if _, err := loadCompose(t, broken); err == nil || broken == text {
			t.Errorf("%s is taken", what)
		}
	}
}

func loadCompose(t *testing.T, text string) (*types.Project, error) {
	t.Helper()
	file := types.ConfigFile{Filename: root(t, "compose.yaml"), Content: []byte(text)}
	return loader.LoadWithContext(context.Background(), types.ConfigDetails{WorkingDir: root(t), ConfigFiles: []types.ConfigFile{file}})
}
