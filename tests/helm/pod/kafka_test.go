package pod

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// kafka is a real broker, started from the jars that `make deps` has fetched.
func kafka(t *testing.T) string {
	t.Helper()
	libs, err := filepath.Glob("../../../.cache/kafka-*/libs")
	if err != nil || len(libs) == 0 {
		t.Fatal("no Kafka: make deps fetches it")
	}
	dir := t.TempDir()
	address, controller := freeAddress(t), freeAddress(t)
	properties := fmt.Sprintf(`process.roles=broker,controller
node.id=1
controller.quorum.voters=1@%[2]s
controller.listener.names=CONTROLLER
listeners=PLAINTEXT://%[1]s,CONTROLLER://%[2]s
advertised.listeners=PLAINTEXT://%[1]s
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
offsets.topic.replication.factor=1
num.partitions=1
log.dirs=%[3]s/data
`, address, controller, dir)
	file := filepath.Join(dir, "server.properties")
	if err := os.WriteFile(file, []byte(properties), 0o600); err != nil {
		t.Fatal(err)
	}
	java := []string{"-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xmx512m", "-cp", libs[0] + "/*",
		"-Dlog4j.configuration=file:../../kafka/log4j.properties"}
	format := exec.Command("java", append(java, "kafka.tools.StorageTool", "format", "-t", "ZHVhbHN0cmVhbS10ZXN0cw", "-c", file)...)
	if said, err := format.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, said)
	}
	start(t, exec.Command("java", append(java, "kafka.Kafka", file)...))
	client, err := kgo.NewClient(kgo.SeedBrokers(address))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	until(t, "Kafka", func() bool {
		ctx, done := context.WithTimeout(context.Background(), time.Second)
		defer done()
		return client.Ping(ctx) == nil
	})
	return address
}

// arrived counts how often each event's id is in the topic.
func arrived(t *testing.T, address, topic string, wanted int) map[string]int {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(address), kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	found := map[string]int{}
	deadline := time.Now().Add(60 * time.Second)
	for quiet := 0; quiet < 3 && time.Now().Before(deadline); {
		ctx, done := context.WithTimeout(context.Background(), time.Second)
		fetches := client.PollFetches(ctx)
		done()
		fetches.EachRecord(func(record *kgo.Record) {
			_, rest, _ := strings.Cut(string(record.Value), `"id":"`)
			id, _, _ := strings.Cut(rest, `"`)
			found[id]++
		})
		// All are here: look a little longer for one too many.
		if fetches.NumRecords() == 0 && len(found) >= wanted {
			quiet++
		}
	}
	return found
}
