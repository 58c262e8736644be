{{- define "bidplane.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 30 | trimSuffix "-" -}}
{{- else -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) | trunc 30 | trimSuffix "-" -}}
{{- end -}}
{{- end }}

{{/* Cluster-wide names hold the namespace: two releases may have one name. */}}
{{- define "bidplane.clusterName" -}}
{{- printf "%s-%s-%s" .root.Release.Namespace (include "bidplane.fullname" .root) .component -}}
{{- end }}

{{/* By these an object of a component is known; they never change. */}}
{{- define "bidplane.selector" -}}
app.kubernetes.io/name: bidplane
app.kubernetes.io/instance: {{ .root.Release.Name | quote }}
app.kubernetes.io/component: {{ .component | quote }}
{{- with .market }}
bidplane.io/market: {{ . | quote }}
{{- end }}
{{- end }}

{{/* Of pods: no version of the chart, or a new one would restart what it does not change. */}}
{{- define "bidplane.podLabels" -}}
{{ include "bidplane.selector" . }}
app.kubernetes.io/part-of: bidplane
{{- with .root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "bidplane.labels" -}}
{{ include "bidplane.podLabels" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" | quote }}
{{- end }}

{{/* The metadata of an object: name, labels, and annotations where there are some. */}}
{{- define "bidplane.metadata" -}}
name: {{ .name | quote }}
{{- if not .clusterWide }}
namespace: {{ default .root.Release.Namespace .namespace | quote }}
{{- end }}
labels:
  {{- include "bidplane.labels" . | nindent 2 }}
  {{- with .labels }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- $annotations := merge dict (default dict .annotations) .root.Values.commonAnnotations }}
{{- with $annotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "bidplane.account" -}}
{{- default (printf "%s-%s" (include "bidplane.fullname" .root) .component) .of.serviceAccount.name -}}
{{- end }}

{{- define "bidplane.image" -}}
{{- $image := .Values.image -}}
{{- if $image.digest -}}
{{- printf "%s@%s" $image.repository $image.digest -}}
{{- else -}}
{{- printf "%s:%s" $image.repository (default .Chart.AppVersion $image.tag) -}}
{{- end -}}
{{- end }}

{{/* The components that run, with the values of each; setup and auditor are jobs. */}}
{{- define "bidplane.components" -}}
{{- if not .Values.auditor -}}
{{- fail "auditor: these are an earlier chart's values alone, as --reuse-values keeps them: use --reset-then-reuse-values, or name your values again with -f" -}}
{{- end -}}
{{- $all := dict "worker" .Values.worker "sink-claims" .Values.sinkClaims "source-inventory" .Values.sourceInventory -}}
{{- if .Values.virtualClusters.enabled -}}
{{- $_ := set $all "sink-clusters" .Values.sinkClusters -}}
{{- $_ := set $all "sink-nodes" .Values.sinkNodes -}}
{{- end -}}
{{- if eq (include "bidplane.hasSetup" .) "true" -}}
{{- $_ := set $all "setup" .Values.setup -}}
{{- end -}}
{{- if .Values.auditor.enabled -}}
{{- $_ := set $all "auditor" .Values.auditor -}}
{{- end -}}
{{- toYaml $all -}}
{{- end }}

{{/* Whether the job has anything to do: topics to make, or a market to declare. */}}
{{- define "bidplane.hasSetup" -}}
{{- $todo := and .Values.topics.create (not .Values.strimzi.topics) -}}
{{- range .Values.markets }}{{ if ne (toString .declare) "false" }}{{ $todo = true }}{{ end }}{{ end -}}
{{- $todo -}}
{{- end }}

{{/* Whether an object of somebody else's kind is wanted: "always", or "auto" where the cluster serves it. */}}
{{- define "bidplane.wanted" -}}
{{- or (eq .when "always") (and (eq .when "auto") (.root.Capabilities.APIVersions.Has .api)) -}}
{{- end }}
