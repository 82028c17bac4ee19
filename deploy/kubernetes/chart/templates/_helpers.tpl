{{- define "causeway.labels" -}}
app.kubernetes.io/name: cloud-sync
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/part-of: causeway
{{- with .Values.cloudCore.labels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "causeway.selector" -}}
app.kubernetes.io/name: cloud-sync
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{/* As what nodes are impersonated: a right about nodes alone where the cluster knows it. */}}
{{- define "causeway.impersonate" -}}
{{- $as := .Values.rbac.impersonate -}}
{{- if not (has $as (list "auto" "nodes" "users")) -}}
{{- fail (printf "rbac.impersonate is %q; it can be auto, nodes or users" $as) -}}
{{- end -}}
{{- if ne $as "auto" -}}
{{- $as -}}
{{- else if semverCompare ">=1.36-0" .Capabilities.KubeVersion.Version -}}
nodes
{{- else -}}
users
{{- end -}}
{{- end -}}
