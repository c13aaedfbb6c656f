{{/*
Volumes of the pod.
*/}}

{{/* Items of the pod's volumes. */}}
{{- define "dualstream.volumes" -}}
{{- include "dualstream.volumeItems" . | trim }}
{{- end }}

{{- define "dualstream.volumeItems" -}}
{{- include "dualstream.bufferVolume" . }}
{{- include "dualstream.otherVolumes" . }}
{{- end }}

{{- define "dualstream.otherVolumes" }}
- name: dualstream-config
  configMap:
    name: {{ include "dualstream.fullname" . }}-config
{{- with include "dualstream.secretSources" . }}
- name: dualstream-secrets
  projected:
    defaultMode: 288 # 0440
    sources:
      {{- . | trim | nindent 6 }}
{{- end }}
{{- if .Values.socket.enabled }}
- name: dualstream-socket
  emptyDir:
    medium: Memory
    sizeLimit: 1Mi
{{- end }}
{{- with .Values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "dualstream.bufferVolume" -}}
{{- $storage := .Values.storage }}
{{- if eq $storage.type "emptyDir" }}
- name: dualstream-buffer
  emptyDir:
    sizeLimit: {{ include "dualstream.volumeSize" . }}
{{- else if eq $storage.type "ephemeral" }}
- name: dualstream-buffer
  ephemeral:
    volumeClaimTemplate:
      spec:
        {{- include "dualstream.claimSpec" . | nindent 8 }}
{{- else if eq $storage.type "existingClaim" }}
- name: dualstream-buffer
  persistentVolumeClaim:
    claimName: {{ $storage.claimName }}
{{- end }}
{{- end }}

{{- define "dualstream.claimSpec" -}}
accessModes:
  {{- toYaml .Values.storage.accessModes | nindent 2 }}
{{- with .Values.storage.className }}
storageClassName: {{ . }}
{{- end }}
resources:
  requests:
    storage: {{ include "dualstream.volumeSize" . }}
{{- end }}

{{/* Items of a StatefulSet's volumeClaimTemplates, for storage.type=claimTemplate. */}}
{{- define "dualstream.volumeClaimTemplates" -}}
{{- if eq .Values.storage.type "claimTemplate" -}}
- metadata:
    name: dualstream-buffer
    labels:
      {{- include "dualstream.podLabels" . | nindent 6 }}
  spec:
    {{- include "dualstream.claimSpec" . | nindent 4 }}
{{- end }}
{{- end }}

{{/* The secrets that are mounted as files; empty when there are none. */}}
{{- define "dualstream.secretSources" -}}
{{- with .Values.kafka.tls.ca }}
{{- if .secret }}
- secret:
    name: {{ .secret }}
    items: [{key: {{ .key | quote }}, path: kafka-ca.crt}]
{{- end }}
{{- end }}
{{- with .Values.kafka.tls.certificate }}
{{- if .secret }}
- secret:
    name: {{ .secret }}
    items: [{key: {{ .certKey | quote }}, path: kafka-user.crt}, {key: {{ .keyKey | quote }}, path: kafka-user.key}]
{{- end }}
{{- end }}
{{- with .Values.kafka.sasl.password }}
{{- if .secret }}
- secret:
    name: {{ .secret }}
    items: [{key: {{ .key | quote }}, path: kafka-password}]
{{- end }}
{{- end }}
{{- with .Values.encryption.keys }}
{{- if .secret }}
- secret:
    name: {{ .secret }}
    items: [{key: {{ .key | quote }}, path: buffer-keys}]
{{- end }}
{{- end }}
{{- with .Values.redis.url }}
{{- if .secret }}
- secret:
    name: {{ .secret }}
    items: [{key: {{ .key | quote }}, path: redis-url}]
{{- end }}
{{- end }}
{{- end }}
