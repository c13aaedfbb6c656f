{{/*
The relay's container, and what the pod and the application need for it. The way in for charts that have this one as a dependency:
README.md shows all of it in one pod.
*/}}

{{- define "dualstream.container" -}}
{{- include "dualstream.checks" . -}}
- name: dualstream
  image: {{ include "dualstream.image" . | quote }}
  imagePullPolicy: {{ .Values.image.pullPolicy }}
  {{- if .Values.nativeSidecar }}
  restartPolicy: Always
  {{- end }}
  args: [run]
  env:
    {{- include "dualstream.env" . | trim | nindent 4 }}
  ports:
    - name: dualstream
      containerPort: {{ .Values.probes.port }}
      protocol: TCP
  {{- include "dualstream.probes" . | trim | nindent 2 }}
  {{- with .Values.lifecycle }}
  lifecycle:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  terminationMessagePolicy: FallbackToLogsOnError
  securityContext:
    {{- include "dualstream.securityContext" . | nindent 4 }}
  resources:
    {{- include "dualstream.resources" . | nindent 4 }}
  volumeMounts:
    {{- include "dualstream.mounts" . | trim | nindent 4 }}
{{- end }}

{{- define "dualstream.env" -}}
- name: DUALSTREAM_CONFIG
  value: /etc/dualstream/config/relay.toml
{{- with .Values.env }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "dualstream.securityContext" -}}
runAsNonRoot: true
runAsUser: {{ int64 .Values.runAsUser }}
runAsGroup: {{ int64 .Values.runAsUser }}
readOnlyRootFilesystem: true
allowPrivilegeEscalation: false
capabilities:
  drop: [ALL]
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{- define "dualstream.mounts" -}}
- name: dualstream-buffer
  mountPath: /var/lib/dualstream
- name: dualstream-config
  mountPath: /etc/dualstream/config
  readOnly: true
{{- if include "dualstream.secretSources" . }}
- name: dualstream-secrets
  mountPath: /etc/dualstream/secrets
  readOnly: true
{{- end }}
{{- if .Values.socket.enabled }}
- name: dualstream-socket
  mountPath: {{ .Values.socket.directory }}
{{- end }}
{{- with .Values.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "dualstream.probes" -}}
{{- with .Values.probes.startup }}
startupProbe:
  httpGet: {path: /startupz, port: dualstream}
  periodSeconds: {{ .periodSeconds }}
  timeoutSeconds: {{ .timeoutSeconds }}
  failureThreshold: {{ .failureThreshold }}
{{- end }}
{{- with .Values.probes.liveness }}
livenessProbe:
  httpGet: {path: /livez, port: dualstream}
  periodSeconds: {{ .periodSeconds }}
  timeoutSeconds: {{ .timeoutSeconds }}
  failureThreshold: {{ .failureThreshold }}
{{- end }}
{{- with .Values.probes.readiness }}
{{- if .enabled }}
readinessProbe:
  httpGet: {path: /readyz, port: dualstream}
  periodSeconds: {{ .periodSeconds }}
  timeoutSeconds: {{ .timeoutSeconds }}
  failureThreshold: {{ .failureThreshold }}
{{- end }}
{{- end }}
{{- end }}

{{/* Items of the pod's initContainers: the relay first, so that other init steps can publish, too. Empty without native sidecars. */}}
{{- define "dualstream.initContainers" -}}
{{- if .Values.nativeSidecar }}
{{- include "dualstream.container" . }}
{{- end }}
{{- end }}

{{/* Items of the pod's containers. Empty with native sidecars. */}}
{{- define "dualstream.containers" -}}
{{- if not .Values.nativeSidecar }}
{{- include "dualstream.container" . }}
{{- end }}
{{- end }}

{{/* For the pod's securityContext. */}}
{{- define "dualstream.podSecurityContext" -}}
runAsNonRoot: true
fsGroup: {{ int64 .Values.fsGroup }}
fsGroupChangePolicy: OnRootMismatch
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{/* Items of the application's volumeMounts. Connecting to a socket needs no writable mount. */}}
{{- define "dualstream.appMounts" -}}
{{- if .Values.socket.enabled -}}
- name: dualstream-socket
  mountPath: {{ .Values.socket.directory }}
  readOnly: true
{{- end }}
{{- end }}

{{/* Items of the application's env. */}}
{{- define "dualstream.appEnv" -}}
{{- include "dualstream.appEnvItems" . | trim }}
{{- end }}

{{- define "dualstream.appEnvItems" -}}
{{- if .Values.socket.enabled }}
- name: DUALSTREAM_SOCKET
  value: {{ .Values.socket.directory }}/ingest.sock
{{- end }}
{{- with dig "ingest" "listen" "127.0.0.1:7410" .Values.config }}
- name: DUALSTREAM_URL
  value: http://{{ . }}
{{- end }}
{{- end }}
