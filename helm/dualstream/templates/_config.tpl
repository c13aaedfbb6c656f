{{/*
The relay's configuration file.
*/}}

{{/* One value as TOML. JSON's strings are TOML's; numbers of a values file arrive as floats. */}}
{{- define "dualstream.tomlValue" -}}
{{- if kindIs "map" . }}
{{- $entries := list }}
{{- range $key, $value := . }}
{{- $entries = append $entries (printf "%s = %s" (toJson $key) (include "dualstream.tomlValue" $value)) }}
{{- end }}
{{- if $entries }}{ {{ join ", " $entries }} }{{ else }}{}{{ end }}
{{- else if kindIs "slice" . }}
{{- $items := list }}
{{- range . }}
{{- $items = append $items (include "dualstream.tomlValue" .) }}
{{- end }}
{{- printf "[%s]" (join ", " $items) }}
{{- else if kindIs "string" . }}
{{- toJson . }}
{{- else if kindIs "bool" . }}
{{- . }}
{{- else }}
{{- int64 . }}
{{- end }}
{{- end }}

{{/* Keys of [kafka] that follow from kafka.tls and kafka.sasl. */}}
{{- define "dualstream.securityKeys" -}}
{{- $tls := .Values.kafka.tls }}
{{- $sasl := .Values.kafka.sasl }}
{{- $keys := dict }}
{{- if $tls.enabled }}
{{- $_ := set $keys "tls" true }}
{{- end }}
{{- if $tls.ca.secret }}
{{- $_ := set $keys "tls_ca_file" "/etc/dualstream/secrets/kafka-ca.crt" }}
{{- end }}
{{- if $tls.certificate.secret }}
{{- $_ := set $keys "tls_certificate_file" "/etc/dualstream/secrets/kafka-user.crt" }}
{{- $_ := set $keys "tls_key_file" "/etc/dualstream/secrets/kafka-user.key" }}
{{- end }}
{{- if $sasl.mechanism }}
{{- $_ := set $keys "sasl_mechanism" $sasl.mechanism }}
{{- $_ := set $keys "sasl_username" $sasl.username }}
{{- $_ := set $keys "sasl_password_file" "/etc/dualstream/secrets/kafka-password" }}
{{- end }}
{{- toJson $keys }}
{{- end }}

{{/* relay.toml */}}
{{- define "dualstream.configFile" -}}
{{- $config := deepCopy .Values.config }}
{{- range $section := list "ingest" "buffer" "kafka" "redis" "ops" "shutdown" "log" }}
{{- $_ := set $config $section (get $config $section | default dict) }}
{{- end }}
{{- $_ := set $config.buffer "dir" "/var/lib/dualstream/buffer" }}
{{- $_ := set $config.ops "probe_listen" (printf "0.0.0.0:%d" (int64 .Values.probes.port)) }}
{{- if .Values.socket.enabled }}
{{- $_ := set $config.ingest "socket" (printf "%s/ingest.sock" .Values.socket.directory) }}
{{- end }}
{{- if .Values.encryption.keys.secret }}
{{- $_ := set $config.buffer "encryption_key_file" "/etc/dualstream/secrets/buffer-keys" }}
{{- end }}
{{- if .Values.redis.url.secret }}
{{- $_ := set $config.redis "url_file" "/etc/dualstream/secrets/redis-url" }}
{{- end }}
{{- if not .Values.nativeSidecar }}
{{- /* Its signal comes together with the application's, so it has to wait for it by itself. */}}
{{- $app := int64 .Values.termination.appSeconds }}
{{- $_ := set $config.shutdown "linger" (printf "%ds" $app) }}
{{- $_ := set $config.shutdown "grace" (printf "%ds" (add $app (int64 (include "dualstream.drainSeconds" .)))) }}
{{- end }}
{{- $_ := set $config "kafka" (merge (include "dualstream.securityKeys" . | fromJson) $config.kafka) }}
{{- range $section, $keys := $config }}
{{- if $keys }}
[{{ $section }}]
{{- range $key, $value := $keys }}
{{ $key }} = {{ include "dualstream.tomlValue" $value }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
