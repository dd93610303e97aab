{{/* The release's name, with the chart's where that is not in it. */}}
{{- define "wrtc-gateway.fullname" -}}
{{- if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "wrtc-gateway.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "wrtc-gateway.labels" -}}
{{ include "wrtc-gateway.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}

{{/* gw.toml. Texts, numbers, switches and lists of JSON are TOML's too. */}}
{{- define "wrtc-gateway.toml" -}}
{{- if not .Values.config.sip.servers }}{{ fail "config.sip.servers is missing: name at least one, as in [\"sip:sip.example:5060\"]" }}{{ end -}}
{{- range $section, $keys := .Values.config }}
[{{ $section }}]
{{- if and (eq $section "http") $.Values.tls.secretName }}
tls_cert = "/etc/wrtc-gateway/tls/tls.crt"
tls_key = "/etc/wrtc-gateway/tls/tls.key"
{{- end }}
{{- range $key, $value := $keys }}
{{- if kindIs "float64" $value }}
{{ $key }} = {{ int64 $value }}
{{- else if kindIs "map" $value }}
{{- fail (printf "config.%s.%s is a section within a section: there are none" $section $key) }}
{{- else }}
{{ $key }} = {{ mustToRawJson $value }}
{{- end }}
{{- end }}
{{ end }}
{{- if and .Values.tls.secretName (not (hasKey .Values.config "http")) }}
[http]
tls_cert = "/etc/wrtc-gateway/tls/tls.crt"
tls_key = "/etc/wrtc-gateway/tls/tls.key"
{{- end }}
{{- end -}}

{{- define "wrtc-gateway.scheme" -}}
{{- $http := .Values.config.http | default dict -}}
{{- if or .Values.tls.secretName $http.tls_cert }}HTTPS{{ else }}HTTP{{ end -}}
{{- end -}}

{{- define "wrtc-gateway.basePath" -}}
{{- $http := .Values.config.http | default dict -}}
{{- $http.base_path | default "" -}}
{{- end -}}

{{- define "wrtc-gateway.drain" -}}
{{- $gateway := .Values.config.gateway | default dict -}}
{{- if hasKey $gateway "drain_seconds" }}{{ int $gateway.drain_seconds }}{{ else }}120{{ end -}}
{{- end -}}

{{/* Media workers whose ports have a node port each. */}}
{{- define "wrtc-gateway.workers" -}}
{{- $media := .Values.config.media | default dict -}}
{{- $media.workers | default 1 | int -}}
{{- end -}}
