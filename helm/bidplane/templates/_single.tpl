{{/*
A component of which one runs: a Deployment that ends the old pod first. Two at once would do no harm, they would only
do the same work twice. Takes what bidplane.pod takes, and name.
*/}}
{{- define "bidplane.single" -}}
apiVersion: apps/v1
kind: Deployment
metadata:
  {{- include "bidplane.metadata" . | nindent 2 }}
spec:
  replicas: 1
  strategy: {type: Recreate}
  revisionHistoryLimit: 3
  selector:
    matchLabels:
      {{- include "bidplane.selector" . | nindent 6 }}
  template:
    {{- include "bidplane.pod" . | nindent 4 }}
{{- end }}

{{/* The environment of sinks and sources: where they answer /metrics, /livez and /readyz. */}}
{{- define "bidplane.single.env" -}}
- name: BIDPLANE_METRICS_HOST
  value: {{ .Values.metrics.listen | quote }}
- name: BIDPLANE_METRICS_PORT
  value: {{ .Values.metrics.port | quote }}
{{- end }}

{{/* The device classes that are sold beside our own, as options. */}}
{{- define "bidplane.classes.args" -}}
{{- $args := list -}}
{{- range .Values.deviceClasses }}
{{- $args = append $args (printf "--device-class=%s=%s" .class (default .class .driver)) -}}
{{- end -}}
{{- toJson $args -}}
{{- end }}
