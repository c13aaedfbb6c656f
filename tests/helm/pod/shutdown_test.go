package pod

import (
	"strings"
	"testing"
	"time"
)

// nowhere is an address at which no Kafka is.
const nowhere = "127.0.0.1:9"

// Goal: when a pod is deleted, what the application publishes in its last moments is in Kafka before the pod is gone.
func TestLastEventsReachKafka(t *testing.T) {
	p := pod{volume: t.TempDir(), topic: "deleted", kafka: kafka(t), drain: 25 * time.Second, grace: 60 * time.Second}
	end := p.run(t, application{runs: 2 * time.Second, last: 200})
	if end.exit != 0 || end.told(t, "left") != 0 {
		t.Errorf("exit %d: %s", end.exit, end.log)
	}
	all(t, p, end.accepted, 200)
}

// Goal: a Job's pod ends when its own container does, and what that published is in Kafka.
func TestJobEnds(t *testing.T) {
	p := pod{volume: t.TempDir(), topic: "job", kafka: kafka(t), drain: 25 * time.Second, grace: 30 * time.Second}
	end := p.run(t, application{events: 500})
	if end.exit != 0 {
		t.Errorf("exit %d: %s", end.exit, end.log)
	}
	all(t, p, end.accepted, 500)
}

// Goal: with Kafka away the relay says exactly what stays on the volume, and on a claim the next pod sends it.
func TestKafkaAwayAtTheEnd(t *testing.T) {
	away := pod{volume: t.TempDir(), topic: "away", kafka: nowhere, drain: 3 * time.Second, grace: 30 * time.Second}
	end := away.run(t, application{runs: time.Second, last: 100})
	if left := end.told(t, "left"); end.exit != 5 || left != len(end.accepted) {
		t.Errorf("exit %d, %d left of %d: %s", end.exit, left, len(end.accepted), end.log)
	}
	next := away
	next.kafka, next.drain = kafka(t), 25*time.Second
	second := next.run(t, application{events: 10})
	if second.exit != 0 {
		t.Errorf("exit %d: %s", second.exit, second.log)
	}
	all(t, next, append(end.accepted, second.accepted...), 110)
}

// Goal: an application that eats the whole grace period leaves the relay two seconds; killed in the middle of its drain, it loses
// nothing that a claim keeps.
func TestApplicationEatsTheGracePeriod(t *testing.T) {
	late := pod{volume: t.TempDir(), topic: "late", kafka: nowhere, drain: 25 * time.Second, grace: 3 * time.Second}
	end := late.run(t, application{runs: time.Second, last: 100, lingers: time.Hour})
	if end.exit != -1 {
		t.Errorf("it was not killed, but ended with %d: %s", end.exit, end.log)
	}
	next := late
	next.kafka, next.grace = kafka(t), 60*time.Second
	second := next.run(t, application{events: 10})
	if second.exit != 0 {
		t.Errorf("exit %d: %s", second.exit, second.log)
	}
	all(t, next, append(end.accepted, second.accepted...), 110)
}

// all asserts that what was promised, at least so many events, is in Kafka, each once.
func all(t *testing.T, p pod, promised []string, least int) {
	t.Helper()
	if len(promised) < least {
		t.Fatalf("only %d events were accepted", len(promised))
	}
	found := arrived(t, p.kafka, p.topic, len(promised))
	var missing []string
	for _, id := range promised {
		if found[id] == 0 {
			missing = append(missing, id)
		}
	}
	if len(missing) > 0 {
		t.Errorf("%d of %d are missing: %s", len(missing), len(promised), strings.Join(missing[:min(5, len(missing))], " "))
	}
	for id, times := range found {
		if times > 1 {
			t.Errorf("%s is there %d times", id, times)
		}
	}
	t.Logf("%d promised, all in Kafka", len(promised))
}
