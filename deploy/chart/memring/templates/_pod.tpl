{{- /* The pod of a node. Must not know how many there are. */ -}}

{{- define "memring.podSpec" -}}
serviceAccountName: {{ include "memring.serviceAccountName" . }}
automountServiceAccountToken: false
{{- /* A service called memring would set MEMRING_PORT, which means something to a node. */}}
enableServiceLinks: false
terminationGracePeriodSeconds: {{ include "memring.graceSeconds" . }}
{{- with include "memring.imagePullSecrets" . }}
{{ . }}
{{- end }}
{{- with .Values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .Values.schedulerName }}
schedulerName: {{ . }}
{{- end }}
{{- with .Values.runtimeClassName }}
runtimeClassName: {{ . }}
{{- end }}
{{- if not (kindIs "invalid" .Values.hostUsers) }}
hostUsers: {{ .Values.hostUsers }}
{{- end }}
{{- with .Values.dnsPolicy }}
dnsPolicy: {{ . }}
{{- end }}
{{- range $name := list "dnsConfig" "hostAliases" "nodeSelector" "tolerations" }}
{{- with get $.Values $name }}
{{ $name }}:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
{{- with .Values.affinity }}
affinity:
  {{- tpl (toYaml .) $ | nindent 2 }}
{{- end }}
{{- if kindIs "invalid" .Values.topologySpreadConstraints }}
topologySpreadConstraints:
  {{- include "memring.topologySpread" . | trim | nindent 2 }}
{{- else if .Values.topologySpreadConstraints }}
topologySpreadConstraints:
  {{- tpl (toYaml .Values.topologySpreadConstraints) . | nindent 2 }}
{{- end }}
securityContext:
  {{- toYaml .Values.podSecurityContext | nindent 2 }}
{{- with .Values.initContainers }}
initContainers:
  {{- tpl (toYaml .) $ | nindent 2 }}
{{- end }}
containers:
  - name: memring
    image: {{ include "memring.image" . | quote }}
    imagePullPolicy: {{ .Values.image.pullPolicy }}
    command:
      - memring
    args:
      {{- include "memring.args" . | nindent 6 }}
    env:
      {{- include "memring.env" . | nindent 6 }}
    {{- with .Values.extraEnvFrom }}
    envFrom:
      {{- toYaml . | nindent 6 }}
    {{- end }}
    ports:
      - name: client
        containerPort: 11211
        protocol: TCP
      - name: peers
        containerPort: 11212
        protocol: TCP
      - name: peers-udp
        containerPort: 11212
        protocol: UDP
      - name: http-metrics
        containerPort: 11213
        protocol: TCP
    {{- range $name := list "startupProbe" "readinessProbe" "livenessProbe" }}
    {{- with get $.Values $name }}
    {{ $name }}:
      {{- toYaml . | nindent 6 }}
    {{- end }}
    {{- end }}
    lifecycle:
      preStop:
        exec:
          command:
            - memring
            - prestop
            - --linger={{ int64 .Values.lingerSeconds }}s
            {{- if .Values.drainOnScaleIn.enabled }}
            - --wait={{ include "memring.drainSeconds" . }}s
            {{- end }}
    resources:
      {{- include "memring.resources" . | nindent 6 }}
    {{- with .Values.resizePolicy }}
    resizePolicy:
      {{- toYaml . | nindent 6 }}
    {{- end }}
    securityContext:
      {{- toYaml .Values.securityContext | nindent 6 }}
    {{- with include "memring.volumeMounts" . | trim }}
    volumeMounts:
      {{- . | nindent 6 }}
    {{- end }}
  {{- with .Values.extraContainers }}
  {{- tpl (toYaml .) $ | nindent 2 }}
  {{- end }}
{{- with include "memring.volumes" . | trim }}
volumes:
  {{- . | nindent 2 }}
{{- end }}
{{- end -}}
