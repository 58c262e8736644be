{{/* How a component reaches Kafka. With Strimzi's users each component is its own user. */}}
{{- define "bidplane.kafka.user" -}}
{{- $component := ternary "operator" .component (eq .component "setup") -}}
{{- printf "%s-%s" (include "bidplane.fullname" .root) $component -}}
{{- end }}

{{- define "bidplane.kafka" -}}
{{- $kafka := .root.Values.kafka -}}
{{- $own := default dict .of.kafka -}}
{{- $strimzi := .root.Values.strimzi -}}
{{- $user := include "bidplane.kafka.user" . -}}
{{- $found := dict "username" (default $kafka.sasl.username $own.username) "secret" (default $kafka.sasl.existingSecret $own.existingSecret) "passwordKey" $kafka.sasl.passwordKey "client" (default $kafka.tls.clientSecret $own.clientSecret) "certKey" $kafka.tls.certKey "keyKey" $kafka.tls.keyKey -}}
{{- if and $strimzi.users (eq $strimzi.authentication "tls") -}}
{{- $found = merge (dict "client" $user "certKey" "user.crt" "keyKey" "user.key") $found -}}
{{- else if $strimzi.users -}}
{{- $found = merge (dict "username" $user "secret" $user "passwordKey" "password") $found -}}
{{- end -}}
{{- toYaml $found -}}
{{- end }}

{{- define "bidplane.kafka.env" -}}
{{- $kafka := .root.Values.kafka -}}
{{- $mine := include "bidplane.kafka" . | fromYaml -}}
- name: BIDPLANE_KAFKA
  value: {{ required "kafka.bootstrap: name your Kafka, HOST:PORT, several with commas between them" $kafka.bootstrap | quote }}
{{- if ne $kafka.protocol "PLAINTEXT" }}
- name: BIDPLANE_KAFKA_SECURITY_PROTOCOL
  value: {{ $kafka.protocol }}
{{- end }}
{{- if hasPrefix "SASL" $kafka.protocol }}
- name: BIDPLANE_KAFKA_SASL_MECHANISM
  value: {{ $kafka.sasl.mechanism }}
- name: BIDPLANE_KAFKA_SASL_USERNAME
  value: {{ required (printf "kafka.sasl.username: %s needs one, or strimzi.users" .component) $mine.username | quote }}
- name: BIDPLANE_KAFKA_SASL_PASSWORD_FILE
  value: /etc/bidplane/kafka/password
{{- end }}
{{- if and (hasSuffix "SSL" $kafka.protocol) $kafka.tls.caSecret }}
- name: BIDPLANE_KAFKA_CA_FILE
  value: /etc/bidplane/kafka/ca.crt
{{- end }}
{{- if and (hasSuffix "SSL" $kafka.protocol) $mine.client }}
- name: BIDPLANE_KAFKA_CERT_FILE
  value: /etc/bidplane/kafka/tls.crt
- name: BIDPLANE_KAFKA_KEY_FILE
  value: /etc/bidplane/kafka/tls.key
{{- end }}
{{- end }}

{{/* The files that the environment names, each from its Secret: nothing where nothing is needed. */}}
{{- define "bidplane.kafka.sources" -}}
{{- $kafka := .root.Values.kafka -}}
{{- $mine := include "bidplane.kafka" . | fromYaml -}}
{{- if hasPrefix "SASL" $kafka.protocol }}
- secret:
    name: {{ required (printf "kafka.sasl.existingSecret: %s needs one that holds its password, or strimzi.users" .component) $mine.secret | quote }}
    items:
      - {key: {{ $mine.passwordKey | quote }}, path: password}
{{- end }}
{{- if and (hasSuffix "SSL" $kafka.protocol) $kafka.tls.caSecret }}
- secret:
    name: {{ $kafka.tls.caSecret | quote }}
    items:
      - {key: {{ $kafka.tls.caKey | quote }}, path: ca.crt}
{{- end }}
{{- if and (hasSuffix "SSL" $kafka.protocol) $mine.client }}
- secret:
    name: {{ $mine.client | quote }}
    items:
      - {key: {{ $mine.certKey | quote }}, path: tls.crt}
      - {key: {{ $mine.keyKey | quote }}, path: tls.key}
{{- end }}
{{- end }}

{{/* The ports of the bootstrap addresses: what a NetworkPolicy lets through unless it is told more. */}}
{{- define "bidplane.kafka.ports" -}}
{{- $ports := list -}}
{{- range splitList "," .Values.kafka.bootstrap }}
{{- $ports = append $ports (splitList ":" (trim .) | last | int) -}}
{{- end -}}
{{- concat $ports .Values.networkPolicy.kafka.ports | uniq | toJson -}}
{{- end }}
