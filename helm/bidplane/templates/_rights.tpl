{{/* What each component may do in the host cluster: what it calls, and nothing else. */}}

{{/* Leases to claims. Granular status authorization (1.36) asks for resourceclaims/binding besides. */}}
{{- define "bidplane.rights.sink-claims" -}}
- apiGroups: [resource.k8s.io]
  resources: [resourceclaims]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [resource.k8s.io]
  resources: [resourceclaims/status]
  verbs: [patch]
- apiGroups: [resource.k8s.io]
  resources: [resourceclaims/binding]
  verbs: [patch]
- apiGroups: [resource.k8s.io]
  resources: [resourceslices]
  verbs: [list, watch]
- apiGroups: [resource.k8s.io]
  resources: [deviceclasses]
  verbs: [create]
- apiGroups: [bidplane.io]
  resources: [deviceleases]
  verbs: [get, list, watch, create, delete]
- apiGroups: [""]
  resources: [pods]
  verbs: [list, watch, delete]
- apiGroups: [""]
  resources: [nodes]
  verbs: [list, watch]
- apiGroups: [""]
  resources: [namespaces]
  verbs: [create, patch]
- apiGroups: [networking.k8s.io]
  resources: [networkpolicies]
  verbs: [create, patch]
- apiGroups: [authentication.k8s.io]
  resources: [selfsubjectreviews]
  verbs: [create]
{{- $verbs := ternary "[get]" "[get, create, patch]" (eq .Values.hostSetup.by "chart") }}
{{- $names := list }}
{{- range (.Files.Get "files/host.json" | fromJson).policies }}
{{- $names = append $names .metadata.name }}
{{- end }}
- apiGroups: [apiextensions.k8s.io]
  resources: [customresourcedefinitions]
  resourceNames: [deviceleases.bidplane.io]
  verbs: {{ $verbs }}
- apiGroups: [admissionregistration.k8s.io]
  resources: [validatingadmissionpolicies, validatingadmissionpolicybindings]
  resourceNames: {{ toJson $names }}
  verbs: {{ $verbs }}
{{- end }}

{{/* Agents' pods in the host cluster. */}}
{{- define "bidplane.rights.sink-nodes" -}}
- apiGroups: [""]
  resources: [pods]
  verbs: [get, list, watch, create, delete]
{{- end }}

{{/* Devices to supply: it only looks. */}}
{{- define "bidplane.rights.source-inventory" -}}
- apiGroups: [""]
  resources: [nodes]
  verbs: [list, watch]
- apiGroups: [resource.k8s.io]
  resources: [resourceslices, resourceclaims]
  verbs: [list, watch]
{{- end }}

{{/* In the namespace of the control planes: who runs them, and who needs the credentials to serve them. */}}
{{- define "bidplane.rights.planes.sink-clusters" -}}
- apiGroups: [apps]
  resources: [statefulsets]
  verbs: [get, list, watch, create, patch]
- apiGroups: [""]
  resources: [services, configmaps]
  verbs: [get, create, patch]
- apiGroups: [networking.k8s.io]
  resources: [networkpolicies]
  verbs: [get, create, patch]
- apiGroups: [""]
  resources: [secrets]
  verbs: [get, create, patch, delete]
{{- end }}

{{- define "bidplane.rights.planes.sink-nodes" -}}
- apiGroups: [""]
  resources: [secrets]
  verbs: [get, list, watch]
{{- end }}
