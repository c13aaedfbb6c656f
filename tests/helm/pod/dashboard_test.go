package pod

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Goal: no panel of the dashboard is empty for want of a metric: a real Prometheus that scrapes a real relay answers every query.
func TestEveryPanelHasAnAnswer(t *testing.T) {
	prometheus, err := filepath.Abs("../../../.cache/tools/bin/prometheus")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(prometheus); err != nil {
		t.Skip("no prometheus: scripts/deps-k8s.sh brings it only together with promtool")
	}
	redis, socket, probes := freeAddress(t), filepath.Join(t.TempDir(), "ingest.sock"), freeAddress(t)
	_, port, _ := strings.Cut(redis, ":")
	start(t, exec.Command("redis-server", "--port", port, "--bind", "127.0.0.1", "--save", "", "--dir", t.TempDir()))
	relay := exec.Command(os.Getenv("DUALSTREAM"), "run")
	relay.Env = append(os.Environ(), "DUALSTREAM__BUFFER__DIR="+t.TempDir(), "DUALSTREAM__BUFFER__MAX_BYTES=64MiB",
		"DUALSTREAM__INGEST__LISTEN=", "DUALSTREAM__INGEST__SOCKET="+socket, "DUALSTREAM__INGEST__MAX_BODY_BYTES=1MiB",
		"DUALSTREAM__OPS__LISTEN=", "DUALSTREAM__OPS__PROBE_LISTEN="+probes, "DUALSTREAM__REDIS__URL=redis://"+redis+"/",
		"DUALSTREAM__KAFKA__BROKERS="+kafka(t), "DUALSTREAM__KAFKA__TOPIC=dashboard")
	start(t, relay)
	until(t, "the start gate", func() bool { return answers(probes, "/startupz") })

	server := freeAddress(t)
	dir := t.TempDir()
	config := fmt.Sprintf(`global: {scrape_interval: 1s}
scrape_configs:
  - job_name: shop/relay
    static_configs: [{targets: ["%s"], labels: {namespace: shop, pod: shop-0}}]
`, probes)
	file := filepath.Join(dir, "prometheus.yml")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	start(t, exec.Command(prometheus, "--config.file="+file, "--storage.tsdb.path="+dir+"/data", "--web.listen-address="+server))

	client := overSocket(socket)
	publish := func(body string) {
		reply, err := client.Post("http://relay/v1/events", "application/json", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		reply.Body.Close()
	}
	waiting := map[string]bool{}
	for _, query := range queries(t) {
		waiting[query] = true
	}
	if len(waiting) < 30 {
		t.Fatalf("only %d queries", len(waiting))
	}
	until(t, "an answer to every query", func() bool {
		publish(`{"type":"tick","source_type":"pod","source_id":"one"}`)
		publish(`{"type":"no source"}`)
		for query := range waiting {
			if hasAnswer(server, query) {
				delete(waiting, query)
			}
		}
		if len(waiting) > 0 {
			time.Sleep(500 * time.Millisecond)
		}
		return len(waiting) == 0 || giveUp(t, waiting)
	})
	if hasAnswer(server, `dualstream_no_such_metric{namespace=~".*"}`) {
		t.Error("everything has an answer: the check is worth nothing")
	}
}

var started = time.Now()

// giveUp names what has no answer before the deadline of the wait does.
func giveUp(t *testing.T, waiting map[string]bool) bool {
	if time.Since(started) < 75*time.Second {
		return false
	}
	for query := range waiting {
		t.Errorf("no answer: %s", query)
	}
	return true
}

// queries are those of the dashboard with its variables filled in. A panel that shows only what is above 0 is asked for what it looks at.
func queries(t *testing.T) []string {
	t.Helper()
	text, err := os.ReadFile("../../../helm/dualstream/files/dashboard.json")
	if err != nil {
		t.Fatal(err)
	}
	var dashboard struct {
		Panels []struct{ Targets []struct{ Expr string } }
	}
	if err := json.Unmarshal(text, &dashboard); err != nil {
		t.Fatal(err)
	}
	fill := strings.NewReplacer("$namespace", "shop", "$pod", ".*", "$__rate_interval", "1m", ") > 0", ")")
	var found []string
	for _, panel := range dashboard.Panels {
		for _, target := range panel.Targets {
			query := fill.Replace(target.Expr)
			found = append(found, strings.TrimSuffix(query, " or vector(0)"))
		}
	}
	for i, query := range found {
		found[i] = strings.ReplaceAll(query, " == 0)", ")")
	}
	return found
}

func hasAnswer(server, query string) bool {
	reply, err := http.Get("http://" + server + "/api/v1/query?query=" + url.QueryEscape(query))
	if err != nil {
		return false
	}
	defer reply.Body.Close()
	var answer struct{ Data struct{ Result []any } }
	return json.NewDecoder(reply.Body).Decode(&answer) == nil && len(answer.Data.Result) > 0
}
