{{- define "market.image" -}}
{{ .root.Values.imageRegistry }}/{{ .name }}:{{ .root.Values.imageTag | default .root.Chart.AppVersion }}
{{- end }}

{{- define "market.redis" -}}
{{- if .Values.redis.secret -}}
- {name: REDIS_URL, valueFrom: {secretKeyRef: {name: {{ .Values.redis.secret | quote }}, key: REDIS_URL}}}
{{- else -}}
- {name: REDIS_URL, value: {{ .Values.redis.url | quote }}}
{{- end }}
{{- end }}

{{- define "market.scaling" -}}
{{- if gt (int .Values.scaling.min) (int .Values.scaling.max) }}
{{- fail (printf "scaling.min %v must not be above scaling.max %v" .Values.scaling.min .Values.scaling.max) }}
{{- end -}}
scaling: {min: {{ .Values.scaling.min }}, max: {{ .Values.scaling.max }}, cooldown: {{ .Values.scaling.cooldown }}}
{{- end }}
