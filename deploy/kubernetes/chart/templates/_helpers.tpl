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
