// Package pod runs a pod without a cluster: real processes, started and stopped in the order in which the kubelet does it (KEP-753).
//
//	start gate: the relay, until /startupz answers 200; then the application
//	the end:    SIGTERM to the application; when it has ended, SIGTERM to the relay; at the end of the grace period, or two seconds after
//	            the relay's signal if that is later, SIGKILL
//
// It needs Kafka's jars (make deps) and DUALSTREAM. `make helm-check-full` runs it.
package pod

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// leastAfterSignal is what the kubelet grants after a signal even when the grace period is over.
const leastAfterSignal = 2 * time.Second

// pod is a volume that outlives its processes, and a place in Kafka.
type pod struct {
	volume string
	topic  string
	kafka  string // bootstrap servers
	drain  time.Duration
	grace  time.Duration
}

// ending is what became of a pod.
type ending struct {
	accepted []string // ids that the application was promised
	exit     int      // of the relay; -1 when it was killed
	log      string
}

// run starts the pod, lets the application publish for a while, and ends the pod, by deleting it or by letting the application finish.
func (p pod) run(t *testing.T, app application) ending {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "ingest.sock")
	probes := freeAddress(t)
	var log bytes.Buffer
	relay := exec.Command(os.Getenv("DUALSTREAM"), "run")
	relay.Stderr = &log
	relay.Env = append(os.Environ(),
		"DUALSTREAM__BUFFER__DIR="+p.volume, "DUALSTREAM__BUFFER__MIN_FREE_BYTES=0", "DUALSTREAM__BUFFER__MAX_BYTES=64MiB",
		"DUALSTREAM__INGEST__LISTEN=", "DUALSTREAM__INGEST__SOCKET="+socket, "DUALSTREAM__INGEST__MAX_BODY_BYTES=1MiB",
		"DUALSTREAM__OPS__LISTEN=", "DUALSTREAM__OPS__PROBE_LISTEN="+probes, "DUALSTREAM__LOG__FORMAT=json",
		"DUALSTREAM__KAFKA__BROKERS="+p.kafka, "DUALSTREAM__KAFKA__TOPIC="+p.topic, "DUALSTREAM__SHUTDOWN__GRACE="+p.drain.String())
	start(t, relay)
	until(t, "the start gate", func() bool { return answers(probes, "/startupz") })

	var accepted bytes.Buffer
	program := exec.Command(os.Args[0], "-test.run=^$")
	program.Stdout, program.Stderr = &accepted, os.Stderr
	program.Env = append(os.Environ(), "POD_APPLICATION="+app.encode(), "DUALSTREAM_SOCKET="+socket)
	start(t, program)
	applicationEnded := make(chan error, 1)
	go func() { applicationEnded <- program.Wait() }()

	var deleted time.Time
	if app.runs > 0 {
		time.Sleep(app.runs) // How long it publishes before it is told to stop; nothing is waited for.
		deleted = time.Now()
		send(t, program, syscall.SIGTERM)
	}
	select {
	case <-applicationEnded:
	case <-time.After(p.grace):
		send(t, program, syscall.SIGKILL)
		<-applicationEnded
	}
	if deleted.IsZero() {
		deleted = time.Now()
	}

	send(t, relay, syscall.SIGTERM)
	left := max(time.Until(deleted.Add(p.grace)), leastAfterSignal)
	relayEnded := make(chan error, 1)
	go func() { relayEnded <- relay.Wait() }()
	select {
	case <-relayEnded:
	case <-time.After(left):
		send(t, relay, syscall.SIGKILL)
		<-relayEnded
	}
	return ending{accepted: strings.Fields(accepted.String()), exit: relay.ProcessState.ExitCode(), log: log.String()}
}

// told is a number that the relay's last words name.
func (e ending) told(t *testing.T, name string) int {
	t.Helper()
	lines := strings.Split(strings.TrimSpace(e.log), "\n")
	last := lines[len(lines)-1]
	found := regexp.MustCompile(`"` + name + `":(\d+)`).FindStringSubmatch(last)
	if found == nil {
		t.Fatalf("the relay's last words do not tell %s: %s", name, last)
	}
	number, _ := strconv.Atoi(found[1])
	return number
}

// application publishes events over the socket, says on standard output which of them were accepted, and does what it is told at its end.
type application struct {
	runs    time.Duration // then it is told to stop; 0: it ends by itself, as a Job does
	events  int           // before it ends by itself
	last    int           // published after it was told to stop
	lingers time.Duration // after that
}

func (a application) encode() string {
	return fmt.Sprintf("%d %d %d", a.events, a.last, a.lingers)
}

// TestMain is the application when the harness starts it as one.
func TestMain(m *testing.M) {
	told := os.Getenv("POD_APPLICATION")
	if told == "" {
		os.Exit(m.Run())
	}
	var a application
	if _, err := fmt.Sscan(told, &a.events, &a.last, (*int64)(&a.lingers)); err != nil {
		panic(err)
	}
	a.main()
}

func (a application) main() {
	ended := make(chan os.Signal, 1)
	notify(ended)
	out := bufio.NewWriter(os.Stdout)
	client := overSocket(os.Getenv("DUALSTREAM_SOCKET"))
	number := 0
	publish := func() {
		number++
		id := fmt.Sprintf("%d-%d", os.Getpid(), number)
		body, _ := json.Marshal(map[string]string{"id": id, "type": "tick", "source_type": "pod", "source_id": "one"})
		reply, err := client.Post("http://relay/v1/events", "application/json", bytes.NewReader(body))
		if err != nil {
			return
		}
		defer reply.Body.Close()
		if reply.StatusCode == http.StatusAccepted {
			fmt.Fprintln(out, id)
			out.Flush()
		}
	}
	for a.events == 0 || number < a.events {
		select {
		case <-ended:
			for range a.last {
				publish()
			}
			time.Sleep(a.lingers)
			return
		default:
			publish()
		}
	}
}

func overSocket(path string) *http.Client {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", path)
	}
	return &http.Client{Transport: &http.Transport{DialContext: dial}, Timeout: 10 * time.Second}
}

func answers(address, path string) bool {
	reply, err := http.Get("http://" + address + path)
	if err != nil {
		return false
	}
	defer reply.Body.Close()
	return reply.StatusCode == http.StatusOK
}

func start(t *testing.T, command *exec.Cmd) {
	t.Helper()
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = command.Process.Kill() })
}

func send(t *testing.T, command *exec.Cmd, what syscall.Signal) {
	t.Helper()
	if err := command.Process.Signal(what); err != nil {
		t.Logf("%s: %v", command.Path, err)
	}
}

// until polls, because nothing tells when it is so.
func until(t *testing.T, what string, isSo func() bool) {
	t.Helper()
	deadline := time.Now().Add(90 * time.Second)
	for !isSo() {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within 90 seconds", what)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// freeAddress is one on which nobody listens now.
func freeAddress(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().String()
}
