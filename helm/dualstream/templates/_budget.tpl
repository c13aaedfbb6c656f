{{/*
Disk and time: what follows from the configuration, and what is refused because it would cost events.
*/}}

{{- define "dualstream.bufferBytes" -}}
{{- include "dualstream.bytes" (list "config.buffer.max_bytes" (dig "buffer" "max_bytes" "1GiB" .Values.config)) }}
{{- end }}

{{/*
MiB that the volume of the buffer must have: a quarter over buffer.max_bytes and 64 MiB, for what the file system itself takes. A volume
that belongs to the relay alone needs room for buffer.min_free_bytes, too: below that the relay calls itself full.
*/}}
{{- define "dualstream.volumeMiB" -}}
{{- $bytes := int64 (include "dualstream.bufferBytes" .) }}
{{- $quarter := div $bytes 4 }}
{{- $free := 0 }}
{{- if ne .Values.storage.type "emptyDir" }}
{{- $free = int64 (include "dualstream.bytes" (list "config.buffer.min_free_bytes" (dig "buffer" "min_free_bytes" "64MiB" .Values.config))) }}
{{- end }}
{{- add (div (add $bytes $quarter $free 1048575) 1048576) 64 }}
{{- end }}

{{/* The size of the volume, as a quantity. */}}
{{- define "dualstream.volumeSize" -}}
{{- $needed := int64 (include "dualstream.volumeMiB" .) }}
{{- $given := .Values.storage.size }}
{{- if $given }}
{{- if lt (int64 (include "dualstream.quantityBytes" (list "storage.size" $given))) (mul $needed 1048576) }}
{{- $outcome := ternary "the pod would be evicted when the buffer fills, and the buffer deleted with it" "the relay would be full before it is" (eq .Values.storage.type "emptyDir") }}
{{- fail (printf "storage.size is %s, but config.buffer.max_bytes (%s bytes) needs %dMi: %s; raise storage.size, leave it empty, or lower config.buffer.max_bytes" $given (include "dualstream.bufferBytes" .) $needed $outcome) }}
{{- end }}
{{- $given }}
{{- else }}
{{- printf "%dMi" $needed }}
{{- end }}
{{- end }}

{{/*
The container's resources. An emptyDir counts as the pod's ephemeral storage, so the request follows from it. No limit is set: the
kubelet compares a pod's whole use, the application's logs included, with the sum of the limits that are there.
*/}}
{{- define "dualstream.resources" -}}
{{- $resources := deepCopy .Values.resources }}
{{- $onNode := eq .Values.storage.type "emptyDir" }}
{{- $needed := ternary (int64 (include "dualstream.volumeMiB" .)) 0 $onNode }}
{{- if and $onNode .Values.storage.size }}
{{- $needed = div (add (int64 (include "dualstream.quantityBytes" (list "storage.size" .Values.storage.size))) 1048575) 1048576 }}
{{- end }}
{{- range $kind := list "requests" "limits" }}
{{- $given := dig $kind "ephemeral-storage" "" $resources }}
{{- if $given }}
{{- $name := printf "resources.%s.ephemeral-storage" $kind }}
{{- if lt (int64 (include "dualstream.quantityBytes" (list $name $given))) (mul $needed 1048576) }}
{{- fail (printf "%s is %v, but the volume of the buffer may take %dMi of it: the pod would be evicted, and the buffer deleted with it; raise it, or leave it out" $name $given $needed) }}
{{- end }}
{{- end }}
{{- end }}
{{- if not (dig "requests" "ephemeral-storage" "" $resources) }}
{{- $requests := merge (dict "ephemeral-storage" (printf "%dMi" (add $needed 32))) (default dict $resources.requests) }}
{{- $_ := set $resources "requests" $requests }}
{{- end }}
{{- toYaml $resources }}
{{- end }}

{{/* Seconds that the relay may drain: shutdown.grace. */}}
{{- define "dualstream.drainSeconds" -}}
{{- include "dualstream.seconds" (list "config.shutdown.grace" (dig "shutdown" "grace" "25s" .Values.config)) }}
{{- end }}

{{/* For the pod: `terminationGracePeriodSeconds: {{ include … }}`. */}}
{{- define "dualstream.terminationGracePeriodSeconds" -}}
{{- $drain := int64 (include "dualstream.drainSeconds" .) }}
{{- $needed := add .Values.termination.appSeconds $drain .Values.termination.marginSeconds }}
{{- $given := int64 .Values.termination.gracePeriodSeconds }}
{{- if eq $given 0 }}
{{- $needed }}
{{- else }}
{{- if lt $given $needed }}
{{- fail (printf "termination.gracePeriodSeconds is %d, but %d are needed: termination.appSeconds (%v) for the application, then config.shutdown.grace (%d) for the relay, and termination.marginSeconds (%v); raise it, set it to 0, or lower one of the three" $given $needed .Values.termination.appSeconds $drain .Values.termination.marginSeconds) }}
{{- end }}
{{- $given }}
{{- end }}
{{- end }}
