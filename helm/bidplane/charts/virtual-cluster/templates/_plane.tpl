{{/* The marks by which the sink finds what belongs to an agent. */}}
{{- define "plane.selector" -}}
app.kubernetes.io/name: virtual-cluster
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "plane.labels" -}}
{{ include "plane.selector" . }}
app.kubernetes.io/part-of: bidplane
app.kubernetes.io/managed-by: bidplane
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
bidplane.io/tenant: {{ splitList "/" .Values.agent | first | quote }}
bidplane.io/agent: {{ splitList "/" .Values.agent | last | quote }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "plane.image" -}}
{{ printf "%s:%s" .repository .tag | quote }}
{{- end }}

{{/* Nothing of the image is written; kube-apiserver's file asks for one capability and does not start without. */}}
{{- define "plane.security" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]{{ with .add }}, add: {{ toJson . }}{{ end }}}
{{- end }}

{{- define "plane.mounts" -}}
- {name: {{ .volume }}, mountPath: /etc/bidplane/pki, readOnly: true}
{{- end }}

{{/* A volume with some files of the Secret, and a kubeconfig for the programs that need one. */}}
{{- define "plane.volume" -}}
- name: {{ .name }}
  projected:
    defaultMode: 0440
    sources:
      - secret:
          name: {{ .top.Values.pki.secret }}
          items:
            {{- range .files }}
            - {key: {{ . }}, path: {{ . }}}
            {{- end }}
      {{- with .kubeconfig }}
      - configMap:
          name: {{ $.top.Release.Name }}
          items:
            - {key: {{ . }}, path: {{ . }}}
      {{- end }}
{{- end }}

{{- define "plane.probe" -}}
httpGet: {path: {{ .path }}, port: {{ .port }}, scheme: {{ .scheme | default "HTTPS" }}}
timeoutSeconds: 5
{{- end }}
