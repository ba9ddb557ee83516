{{- /* What tells this revision's pods from those of others. */ -}}
{{- define "istiod.selector" -}}
app: istiod
{{- if eq .Values.global.revision "default" }}
istio: pilot
{{- else }}
istio.io/rev: {{ .Values.global.revision | quote }}
{{- end }}
{{- end }}
