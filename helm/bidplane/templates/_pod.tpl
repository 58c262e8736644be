{{/*
A pod of a component. Takes root, component, of (its values), container (name, args, env, and for what serves: port,
startupSeconds), kubernetes (whether it talks to the API server), volumes and mounts of its own.
*/}}
{{- define "bidplane.pod" -}}
{{- $defaults := .root.Values.podDefaults -}}
{{- $checked := include "bidplane.pod.checksum" . -}}
metadata:
  labels:
    {{- include "bidplane.podLabels" . | nindent 4 }}
    {{- with merge dict (default dict .of.podLabels) $defaults.labels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- with merge dict (default dict .of.podAnnotations) $defaults.annotations (fromYaml $checked) .root.Values.commonAnnotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
spec:
  {{- include "bidplane.pod.spec" . | nindent 2 }}
{{- end }}

{{- define "bidplane.pod.checksum" -}}
{{- with .checksum }}
checksum/config: {{ . | quote }}
{{- end }}
{{- end }}

{{- define "bidplane.pod.spec" -}}
serviceAccountName: {{ include "bidplane.account" . | quote }}
automountServiceAccountToken: {{ default false .kubernetes }}
enableServiceLinks: false
{{- with .root.Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . | quote }}
  {{- end }}
{{- end }}
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: 10001
  seccompProfile: {type: RuntimeDefault}
terminationGracePeriodSeconds: 30
{{- include "bidplane.pod.place" . }}
{{- with .restartPolicy }}
restartPolicy: {{ . }}
{{- end }}
{{- with .initContainers }}
initContainers:
  {{- range . }}
  - {{ include "bidplane.container" (merge (dict "container" .) (omit $ "container" "initContainers")) | indent 4 | trim }}
  {{- end }}
{{- end }}
containers:
  - {{ include "bidplane.container" . | indent 4 | trim }}
volumes:
  - name: tmp
    emptyDir: {sizeLimit: {{ .tmpSize | default "256Mi" }}{{ if .tmpInMemory }}, medium: Memory{{ end }}}
  {{- with include "bidplane.kafka.sources" . | trim }}
  - name: kafka
    projected:
      defaultMode: 0440
      sources:
        {{- . | nindent 8 }}
  {{- end }}
  {{- range concat (default list .volumes) (default .root.Values.podDefaults.extraVolumes .of.extraVolumes) }}
  - {{ toYaml . | indent 4 | trim }}
  {{- end }}
{{- end }}

{{/* Where a pod may run. */}}
{{- define "bidplane.pod.place" -}}
{{- $defaults := .root.Values.podDefaults -}}
{{- with default $defaults.priorityClassName .of.priorityClassName }}
priorityClassName: {{ . | quote }}
{{- end }}
{{- with default $defaults.nodeSelector .of.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with default $defaults.tolerations .of.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with default $defaults.affinity .of.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with default $defaults.topologySpreadConstraints .of.topologySpreadConstraints }}
topologySpreadConstraints:
  {{- range . }}
  - {{ merge dict . (dict "labelSelector" (dict "matchLabels" (include "bidplane.selector" $ | fromYaml))) | toYaml | indent 4 | trim }}
  {{- end }}
{{- end }}
{{- end }}

{{- define "bidplane.container" -}}
{{- $defaults := .root.Values.podDefaults }}
name: {{ .container.name | quote }}
image: {{ include "bidplane.image" .root | quote }}
imagePullPolicy: {{ .root.Values.image.pullPolicy }}
command: [bidplane]
args:
  {{- range .container.args }}
  - {{ . | quote }}
  {{- end }}
  {{- range (default list .of.extraArgs) }}
  - {{ . | quote }}
  {{- end }}
env:
  {{- include "bidplane.kafka.env" . | nindent 2 }}
  - name: HOME
    value: /tmp
  {{- range (default list .container.env) }}
  - {{ toYaml . | indent 4 | trim }}
  {{- end }}
  {{- range (default $defaults.extraEnv .of.extraEnv) }}
  - {{ toYaml . | indent 4 | trim }}
  {{- end }}
{{- with .container.port }}
ports:
  - {name: http, containerPort: {{ . }}, protocol: TCP}
startupProbe:
  httpGet: {path: /livez, port: http}
  periodSeconds: 5
  timeoutSeconds: 5
  failureThreshold: {{ div (add 4 (default 120 $.container.startupSeconds)) 5 }}
livenessProbe:
  httpGet: {path: /livez, port: http}
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 6
readinessProbe:
  httpGet: {path: /readyz, port: http}
  periodSeconds: 5
  timeoutSeconds: 5
  failureThreshold: 3
{{- end }}
resources:
  {{- toYaml .of.resources | nindent 2 }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
volumeMounts:
  - {name: tmp, mountPath: /tmp}
  {{- if include "bidplane.kafka.sources" . | trim }}
  - {name: kafka, mountPath: /etc/bidplane/kafka, readOnly: true}
  {{- end }}
  {{- range concat (default list .mounts) (default $defaults.extraVolumeMounts .of.extraVolumeMounts) }}
  - {{ toYaml . | indent 4 | trim }}
  {{- end }}
{{- end }}
