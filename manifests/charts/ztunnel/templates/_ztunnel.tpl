{{- /* Its own revision's control plane, or that of all. */ -}}
{{- define "ztunnel.controlPlane" -}}
{{- with default .Values.global.revision .Values.ztunnel.revision -}}
istiod{{ if ne . "default" }}-{{ . }}{{ end }}.{{ $.Release.Namespace }}.svc:15012
{{- end }}
{{- end }}
