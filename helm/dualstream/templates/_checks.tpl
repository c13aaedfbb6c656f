{{/*
What cannot work is refused here, with the value and the cure. Renders nothing.
*/}}

{{- define "dualstream.checks" -}}
{{- $values := .Values }}
{{- $config := $values.config }}
{{- if not (dig "kafka" "brokers" "" $config) }}
{{- fail (printf "config.kafka.brokers is empty; name the bootstrap servers, such as --set %sconfig.kafka.brokers=kafka:9092" (ternary "" (printf "%s." .Chart.Name) .Chart.IsRoot)) }}
{{- end }}
{{- range $key, $cure := dict
  "buffer.dir" "the chart mounts the volume of the buffer; choose it with storage.type"
  "buffer.encryption_key_file" "the chart mounts the secret; use encryption.keys.secret"
  "ingest.socket" "the chart mounts the socket; use socket.enabled and socket.directory"
  "kafka.tls" "use kafka.tls.enabled"
  "kafka.tls_ca_file" "the chart mounts the secret; use kafka.tls.ca.secret"
  "kafka.tls_certificate_file" "the chart mounts the secret; use kafka.tls.certificate.secret"
  "kafka.tls_key_file" "the chart mounts the secret; use kafka.tls.certificate.secret"
  "kafka.sasl_mechanism" "use kafka.sasl.mechanism"
  "kafka.sasl_username" "use kafka.sasl.username"
  "kafka.sasl_password_file" "the chart mounts the secret; use kafka.sasl.password.secret"
  "ops.probe_listen" "the chart wires the probes; use probes.port"
  "redis.url_file" "the chart mounts the secret; use redis.url.secret" }}
{{- $parts := splitList "." $key }}
{{- if hasKey (get $config (index $parts 0) | default dict) (index $parts 1) }}
{{- fail (printf "config.%s is set by the chart: %s" $key $cure) }}
{{- end }}
{{- end }}
{{- range $property, $cure := dict
  "security.protocol" "kafka.tls.enabled and kafka.sasl.mechanism"
  "sasl.mechanism" "kafka.sasl.mechanism"
  "sasl.mechanisms" "kafka.sasl.mechanism"
  "sasl.username" "kafka.sasl.username"
  "sasl.password" "kafka.sasl.password.secret: a ConfigMap is no place for a password"
  "ssl.ca.location" "kafka.tls.ca.secret"
  "ssl.certificate.location" "kafka.tls.certificate.secret"
  "ssl.key.location" "kafka.tls.certificate.secret"
  "ssl.key.pem" "kafka.tls.certificate.secret: a ConfigMap is no place for a key"
  "ssl.key.password" "a key without a password in kafka.tls.certificate.secret: a ConfigMap is no place for a password" }}
{{- if hasKey (dig "kafka" "properties" dict $config) $property }}
{{- fail (printf "config.kafka.properties has %s; use %s" $property $cure) }}
{{- end }}
{{- end }}
{{- include "dualstream.checkSecrets" . }}
{{- include "dualstream.checkStorage" . }}
{{- include "dualstream.checkCluster" . }}
{{- end }}

{{- define "dualstream.checkSecrets" -}}
{{- $kafka := .Values.kafka }}
{{- if not $kafka.tls.enabled }}
{{- range $name := list "ca" "certificate" }}
{{- if (get $kafka.tls $name).secret }}
{{- fail (printf "kafka.tls.%s.secret is %q, but kafka.tls.enabled is false, so that it would not be used; set kafka.tls.enabled=true" $name (get $kafka.tls $name).secret) }}
{{- end }}
{{- end }}
{{- end }}
{{- if $kafka.sasl.mechanism }}
{{- if not (and $kafka.sasl.username $kafka.sasl.password.secret) }}
{{- fail (printf "kafka.sasl.mechanism is %s, which needs kafka.sasl.username and kafka.sasl.password.secret" $kafka.sasl.mechanism) }}
{{- end }}
{{- else if or $kafka.sasl.username $kafka.sasl.password.secret }}
{{- fail "kafka.sasl has a username or a password, but no mechanism, so that neither would be used; set kafka.sasl.mechanism" }}
{{- end }}
{{- $url := dig "redis" "url" "" .Values.config }}
{{- if and $url .Values.redis.url.secret }}
{{- fail "config.redis.url and redis.url.secret are both set; keep one" }}
{{- end }}
{{- if regexMatch "^[a-z+]+://[^/@]*:[^/@]+@" $url }}
{{- fail "config.redis.url has a password, and a ConfigMap is no place for one; put the URL into a secret and name it in redis.url.secret" }}
{{- end }}
{{- end }}

{{- define "dualstream.checkStorage" -}}
{{- $storage := .Values.storage }}
{{- if and (eq $storage.type "existingClaim") (not $storage.claimName) }}
{{- fail "storage.type is existingClaim, which needs storage.claimName" }}
{{- end }}
{{- if and (ne $storage.type "existingClaim") $storage.claimName }}
{{- fail (printf "storage.claimName is %q, but storage.type is %s, so that it would not be used; set storage.type=existingClaim" $storage.claimName $storage.type) }}
{{- end }}
{{- if and (has $storage.type (list "emptyDir" "existingClaim")) $storage.className }}
{{- fail (printf "storage.className is %q, but storage.type is %s, which has no storage class; take it away, or choose ephemeral or claimTemplate" $storage.className $storage.type) }}
{{- end }}
{{- end }}

{{- define "dualstream.checkCluster" -}}
{{- if .Values.nativeSidecar }}
{{- if semverCompare "<1.29.0-0" .Capabilities.KubeVersion.Version }}
{{- fail (printf "Kubernetes %s has no native sidecars (1.29 does); upgrade it, or set nativeSidecar=false and read in docs/kubernetes.md what that costs: the relay stops with the application, not after it, and Jobs do not end" .Capabilities.KubeVersion.Version) }}
{{- end }}
{{- else if dig "shutdown" "linger" "" .Values.config }}
{{- fail "config.shutdown.linger is set by the chart when nativeSidecar is false: the relay accepts events for termination.appSeconds after its signal" }}
{{- end }}
{{- end }}
