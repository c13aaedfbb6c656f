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

{{/* Properties of librdkafka that follow from kafka.tls and kafka.sasl, the password excepted. */}}
{{- define "dualstream.securityProperties" -}}
{{- $tls := .Values.kafka.tls }}
{{- $sasl := .Values.kafka.sasl }}
{{- $properties := dict }}
{{- if or $tls.enabled $sasl.mechanism }}
{{- $protocol := ternary "SASL_" "" (ne $sasl.mechanism "") }}
{{- $_ := set $properties "security.protocol" (printf "%s%s" $protocol (ternary "SSL" "PLAINTEXT" $tls.enabled)) }}
{{- end }}
{{- if $tls.ca.secret }}
{{- $_ := set $properties "ssl.ca.location" "/etc/dualstream/secrets/kafka-ca.crt" }}
{{- end }}
{{- if $tls.certificate.secret }}
{{- $_ := set $properties "ssl.certificate.location" "/etc/dualstream/secrets/kafka-user.crt" }}
{{- $_ := set $properties "ssl.key.location" "/etc/dualstream/secrets/kafka-user.key" }}
{{- end }}
{{- if $sasl.mechanism }}
{{- $_ := set $properties "sasl.mechanisms" $sasl.mechanism }}
{{- $_ := set $properties "sasl.username" $sasl.username }}
{{- end }}
{{- toJson $properties }}
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
{{- if .Values.redis.url.secret }}
{{- $_ := set $config.redis "url_file" "/etc/dualstream/secrets/redis-url" }}
{{- end }}
{{- if not .Values.nativeSidecar }}
{{- /* Its signal comes together with the application's, so it has to wait for it by itself. */}}
{{- $app := int64 .Values.termination.appSeconds }}
{{- $_ := set $config.shutdown "linger" (printf "%ds" $app) }}
{{- $_ := set $config.shutdown "grace" (printf "%ds" (add $app (int64 (include "dualstream.drainSeconds" .)))) }}
{{- end }}
{{- $properties := merge (include "dualstream.securityProperties" . | fromJson) (get $config.kafka "properties" | default dict) }}
{{- if $properties }}
{{- $_ := set $config.kafka "properties" $properties }}
{{- else }}
{{- $_ := unset $config.kafka "properties" }}
{{- end }}
{{- range $section, $keys := $config }}
{{- if $keys }}
[{{ $section }}]
{{- range $key, $value := $keys }}
{{ $key }} = {{ include "dualstream.tomlValue" $value }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
