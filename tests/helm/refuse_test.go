package helm

import (
	"strings"
	"testing"
)

// refusal is a mistake in values, and the sentence that it gets.
type refusal struct {
	set  string
	says []string
}

// Goal: a value that would cost events, or that nobody would read, is refused before it reaches a cluster, in words that name it and
// the cure.
func TestMistakesAreRefused(t *testing.T) {
	refusals := []refusal{
		{"config.kafka.brokers=", []string{"config.kafka.brokers is empty", "--set config.kafka.brokers=kafka:9092"}},
		{"storage.size=1Gi", []string{"storage.size is 1Gi", "needs 1344Mi", "evicted", "raise storage.size"}},
		{"storage.type=claimTemplate,storage.size=1Gi", []string{"storage.size is 1Gi", "needs 1408Mi", "raise storage.size"}},
		{"resources.limits.ephemeral-storage=1Gi", []string{"resources.limits.ephemeral-storage is 1Gi", "evicted", "raise it"}},
		{"resources.requests.ephemeral-storage=1Gi", []string{"resources.requests.ephemeral-storage is 1Gi", "raise it"}},
		{"storage.size=8Gi,resources.limits.ephemeral-storage=4Gi", []string{"may take 8192Mi"}},
		{"termination.gracePeriodSeconds=59", []string{"termination.gracePeriodSeconds is 59", "60 are needed", "raise it"}},
		{"config.shutdown.grace=1m 30s,termination.gracePeriodSeconds=120", []string{"125 are needed", "config.shutdown.grace (90)"}},
		{"config.buffer.max_bytes=lots", []string{"config.buffer.max_bytes is \"lots\"", "write a whole number"}},
		{"config.shutdown.grace=25sec", []string{"config.shutdown.grace is \"25sec\"", "such as 25s"}},
		{"config.buffer.dir=/data", []string{"config.buffer.dir is set by the chart", "storage.type"}},
		{"config.buffer.encryption_key_file=/k", []string{"config.buffer.encryption_key_file is set by the chart", "encryption.keys.secret"}},
		{"config.ingest.socket=/s", []string{"config.ingest.socket is set by the chart", "socket.directory"}},
		{"config.ops.probe_listen=:1", []string{"config.ops.probe_listen is set by the chart", "probes.port"}},
		{"config.redis.url_file=/f", []string{"config.redis.url_file is set by the chart", "redis.url.secret"}},
		{"config.kafka.properties.sasl\\.password=x", []string{"sasl.password", "kafka.sasl.password.secret", "no place for a password"}},
		{"config.kafka.properties.security\\.protocol=ssl", []string{"security.protocol", "kafka.tls.enabled"}},
		{"kafka.tls.ca.secret=ca", []string{"kafka.tls.ca.secret is \"ca\"", "set kafka.tls.enabled=true"}},
		{"kafka.sasl.mechanism=PLAIN", []string{"kafka.sasl.mechanism is PLAIN", "needs kafka.sasl.username"}},
		{"kafka.sasl.username=me", []string{"no mechanism", "set kafka.sasl.mechanism"}},
		{"kafka.sasl.mechanism=GSSAPI", []string{"kafka", "mechanism"}},
		{"config.redis.url=redis://r:1,redis.url.secret=s", []string{"both set", "keep one"}},
		{"config.redis.url=redis://u:hunter2@r:1", []string{"has a password", "redis.url.secret"}},
		{"storage.type=existingClaim", []string{"needs storage.claimName"}},
		{"storage.claimName=c", []string{"storage.claimName is \"c\"", "storage.type=existingClaim"}},
		{"storage.className=fast", []string{"storage.className is \"fast\"", "claimTemplate"}},
		{"storage.type=existingClaim,storage.claimName=c,demo.replicas=2", []string{"demo.replicas is 2", "one relay per buffer"}},
		{"storage.type=hostPath", []string{"storage", "type"}},
		{"config.buffer.max_byte=1GiB", []string{"max_byte"}},
		{"config.bufer.max_bytes=1GiB", []string{"bufer"}},
		{"config.kafka.delivery=at-most-once", []string{"delivery"}},
		{"imag.tag=1", []string{"imag"}},
		{"image.digest=sha256:1", []string{"digest"}},
		{"probes.liveness.failureThreshold=1", []string{"failureThreshold"}},
		{"probes.port=80", []string{"port"}},
		{"lifecycle.postStart.exec.command={x}", []string{"postStart"}},
		{"termination.appSeconds=-1", []string{"appSeconds"}},
		{"storage.accessModes={ReadWriteMany}", []string{"accessModes"}},
		{"networkPolicy.egressPorts={}", []string{"egressPorts"}},
		{"injection.enabled=true", []string{"needs Kubernetes 1.36", "kustomize component"}},
		{"nativeSidecar=false,config.shutdown.linger=5s", []string{"config.shutdown.linger is set by the chart"}},
	}
	for _, mistake := range refusals {
		for _, helm := range helms {
			_, said, ok := run(t, tool(t, helm), "template", "demo", root(t, "helm", "dualstream"), "--kube-version", "1.33.0",
				"--set", "config.kafka.brokers=kafka:9092", "--set", mistake.set)
			if ok {
				t.Errorf("%s: %s renders", helm, mistake.set)
			}
			for _, words := range mistake.says {
				if !ok && !strings.Contains(said, words) {
					t.Errorf("%s: %s does not say %q, but: %s", helm, mistake.set, words, said)
				}
			}
			if strings.Contains(said, "hunter2") {
				t.Errorf("%s prints a password: %s", mistake.set, said)
			}
		}
	}
}

// Goal: on a cluster without native sidecars the chart says so, and what to do, instead of rendering a pod that hangs.
func TestOldClustersAreRefused(t *testing.T) {
	for _, helm := range helms {
		for version, wanted := range map[string]string{
			"1.28.9": "has no native sidecars (1.29 does); upgrade it, or set nativeSidecar=false",
			"1.24.0": "incompatible with Kubernetes",
			"1.29.0": "",
		} {
			_, said, ok := run(t, tool(t, helm), "template", "demo", root(t, "helm", "dualstream"), "--kube-version", version,
				"--set", "config.kafka.brokers=kafka:9092")
			if ok != (wanted == "") || !strings.Contains(said, wanted) {
				t.Errorf("%s on Kubernetes %s: %v %s", helm, version, ok, said)
			}
		}
	}
}

// Goal: a mistake in a chart that has this one under an alias is found as well.
func TestMistakesInADependencyAreRefused(t *testing.T) {
	chart := assembled(t, root(t, "helm", "examples", "job"))
	for set, wanted := range map[string]string{
		"relay.imag.tag=1":                       "imag",
		"relay.config.kafka.brokers=":            "--set relay.config.kafka.brokers=kafka:9092",
		"relay.termination.gracePeriodSeconds=3": "raise it",
	} {
		_, said, ok := run(t, tool(t, "helm4"), "template", "demo", chart, "--kube-version", "1.33.0", "--set", set)
		if ok || !strings.Contains(said, wanted) {
			t.Errorf("%s: %v %s", set, ok, said)
		}
	}
}
