package pod

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"
)

// Goal: the claim of a pod that is gone is emptied by the chart's Job: what its container runs, as it is rendered, waits while Kafka is
// away, keeps everything when it is stopped in the middle, as on a node that is drained, and ends well once all is in Kafka.
func TestOrphansJob(t *testing.T) {
	claim := t.TempDir()
	gone := pod{volume: filepath.Join(claim, "buffer"), topic: "orphan", kafka: nowhere, drain: time.Second, grace: 30 * time.Second}
	end := gone.run(t, application{events: 300})
	if end.exit != 5 || end.told(t, "left") != 300 {
		t.Fatalf("there is no orphan: exit %d: %s", end.exit, end.log)
	}

	log := filepath.Join(t.TempDir(), "log")
	first := orphansJob(t, claim, nowhere, log)
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(said(t, log))
		}
	})
	start(t, first)
	until(t, "the Job at its work", func() bool { return strings.Contains(said(t, log), `"message":"ready"`) })
	send(t, first, syscall.SIGTERM)
	_ = first.Wait()
	if code := first.ProcessState.ExitCode(); code != 5 {
		t.Fatalf("stopped without Kafka it ends with %d, not 5, after which the Job would not try again", code)
	}

	gone.kafka = kafka(t)
	second := orphansJob(t, claim, gone.kafka, log)
	if err := second.Run(); err != nil {
		t.Fatal(err)
	}
	all(t, gone, end.accepted, 300)
}

// orphansJob is the command of the Job's container, with its arguments, variables and files; only the places of its mounts are others.
func orphansJob(t *testing.T, claim, brokers string, log string) *exec.Cmd {
	t.Helper()
	out, err := exec.Command("../../../.cache/tools/bin/helm4", "template", "drain", "../../../helm/dualstream", "--kube-version", "1.33.0",
		"--set", "demo.enabled=false,orphans.claims={one},config.kafka.topic=orphan,config.kafka.brokers="+brokers,
		"--set", "config.buffer.max_bytes=64MiB,config.ingest.max_body_bytes=1MiB,config.log.format=json,config.shutdown.grace=2s").Output()
	if err != nil {
		t.Fatal(err)
	}
	var job batchv1.Job
	var config corev1.ConfigMap
	for _, document := range strings.Split("\n"+string(out), "\n---\n") {
		for mark, into := range map[string]any{"\nkind: Job\n": &job, "\nkind: ConfigMap\n": &config} {
			if strings.Contains("\n"+document, mark) {
				if err := yaml.UnmarshalStrict([]byte(document), into); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	container := job.Spec.Template.Spec.Containers[0]
	files := t.TempDir()
	places := []string{}
	for _, mount := range container.VolumeMounts {
		place := map[string]string{"dualstream-buffer": claim, "dualstream-config": files, "dualstream-socket": files}[mount.Name]
		places = append(places, mount.MountPath, place)
	}
	moved := strings.NewReplacer(places...)
	for name, text := range config.Data {
		if err := os.WriteFile(filepath.Join(files, name), []byte(moved.Replace(text)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if len(container.Command) != 0 || len(config.Data) == 0 || len(container.Args) == 0 {
		t.Fatalf("the Job is not understood:\n%s", out)
	}
	var arguments []string
	for _, argument := range container.Args {
		arguments = append(arguments, moved.Replace(argument))
	}
	ctx, done := context.WithTimeout(context.Background(), 2*time.Minute)
	t.Cleanup(done)
	command := exec.CommandContext(ctx, os.Getenv("DUALSTREAM"), arguments...)
	file, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = file.Close() })
	command.Stderr = file
	for _, variable := range container.Env {
		command.Env = append(command.Env, variable.Name+"="+moved.Replace(variable.Value))
	}
	return command
}

func said(t *testing.T, log string) string {
	t.Helper()
	text, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
