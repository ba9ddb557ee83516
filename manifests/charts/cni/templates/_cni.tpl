{{- /* The agent's settings, as Istio names them. */ -}}
{{- define "cni.settings" -}}
CURRENT_AGENT_VERSION: {{ default .Chart.AppVersion .Values.global.tag | quote }}
AMBIENT_ENABLED: "true"
AMBIENT_DNS_CAPTURE: {{ .Values.cni.dnsCapture | quote }}
AMBIENT_IPV6: {{ .Values.cni.ipv6 | quote }}
AMBIENT_RECONCILE_POD_RULES_ON_STARTUP: "true"
AMBIENT_ENABLEMENT_SELECTOR: {{ .Values.cni.enablementSelectors | toJson | quote }}
ENABLE_AMBIENT_DETECTION_RETRY: "true"
CHAINED_CNI_PLUGIN: {{ .Values.cni.chained | quote }}
{{- with .Values.cni.confName }}
CNI_CONF_NAME: {{ . | quote }}
{{- end }}
{{- if .Values.cni.istioOwnedCNIConfig }}
ISTIO_OWNED_CNI_CONFIG: "true"
{{- with .Values.cni.istioOwnedCNIConfigFileName }}
ISTIO_OWNED_CNI_CONF_FILENAME: {{ . | quote }}
{{- end }}
{{- end }}
EXCLUDE_NAMESPACES: {{ join "," .Values.cni.excludeNamespaces | quote }}
NATIVE_NFTABLES: {{ .Values.cni.nativeNftables | quote }}
AMBIT_LOG: {{ .Values.global.logLevel | quote }}
{{- end }}
