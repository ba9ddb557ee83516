{{- /* The same file in every chart: a test compares them. */ -}}
{{- /* Labels of every object; `dict "root" $ "app" NAME`. */ -}}
{{- define "ambit.labels" -}}
app: {{ .app }}
app.kubernetes.io/name: {{ .app }}
app.kubernetes.io/part-of: ambit
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version }}
{{- end }}
{{- /* A part's image: its own `image` whole, or hub, name and tag; `dict "root" $ "image" VALUE "name" NAME`. */ -}}
{{- define "ambit.image" -}}
{{- if .image }}{{ .image }}{{ else }}{{ printf "%s/%s:%s" .root.Values.global.hub .name (default .root.Chart.AppVersion .root.Values.global.tag) }}{{ end }}
{{- end }}
{{- /* "" for the revision `default`, which is called by plain names; else -REVISION. */ -}}
{{- define "ambit.suffix" -}}
{{- if ne .Values.global.revision "default" }}-{{ .Values.global.revision }}{{ end }}
{{- end }}
{{- /* Where proxies find their control plane. */ -}}
{{- define "ambit.controlPlane" -}}
istiod{{ include "ambit.suffix" . }}.{{ .Release.Namespace }}.svc:15012
{{- end }}
{{- /* Entries of `env` that a user adds, sorted by name; `.` is the map. */ -}}
{{- define "ambit.env" -}}
{{- range $name, $value := . }}
- name: {{ $name }}
  value: {{ $value | quote }}
{{- end }}
{{- end }}
