{{- /* What a node is started with. Must not know the objects around it. */ -}}

{{- /* The flags of `memring serve`, in the order of their names; `extraArgs` win. */ -}}
{{- define "memring.args" -}}
{{- $flags := dict
  "listen" .Values.listenAddress
  "memory-limit" (printf "%sm" (include "memring.memoryMiB" .))
  "max-item-size" (.Values.maxItemSize | toString | trimSuffix "i")
  "conn-limit" .Values.connectionLimit
  "threads" .Values.threads
  "replicas" .Values.copies
  "expect" (min (include "memring.nodesMin" . | int64) (int64 .Values.copies))
  "join" (printf "%s-peers.%s.svc.%s" (include "memring.fullname" .) .Release.Namespace .Values.clusterDomain)
  "cluster-name" (.Values.clusterName | default (include "memring.fullname" .))
  "hint-memory" (printf "%sm" (include "memring.hintMemoryMiB" .))
  "stop-wait" (printf "%ds" (int64 .Values.stopWaitSeconds))
  "remove-after" .Values.removeAfter
  "log-format" .Values.log.format -}}
{{- range $flag, $value := dict "read" .Values.readLevel "write" .Values.writeLevel "zone" .Values.zone.name -}}
{{- if ne (toString $value) "" -}}{{- $_ := set $flags $flag $value -}}{{- end -}}
{{- end -}}
{{- if .Values.persistence.enabled -}}
{{- $_ := set $flags "data-dir" "/data" -}}
{{- $_ := set $flags "hint-disk" (printf "%sm" (include "memring.hintDiskMiB" .)) -}}
{{- end -}}
{{- if .Values.auth.existingSecret -}}
{{- $_ := set $flags "auth-file" (printf "/etc/memring/auth/%s" .Values.auth.key) -}}
{{- end -}}
{{- if .Values.namespaces -}}
{{- $_ := set $flags "config" "/etc/memring/config/memring.toml" -}}
{{- end -}}
- serve
{{- range until (int .Values.log.verbosity) }}
- -v
{{- end }}
{{- range $flag, $value := mergeOverwrite $flags .Values.extraArgs }}
{{- if kindIs "bool" $value }}
{{- if $value }}
- --{{ $flag }}
{{- end }}
{{- else if not (kindIs "invalid" $value) }}
- {{ printf "--%s=%s" $flag (include "memring.word" $value) | quote }}
{{- end }}
{{- end }}
{{- end -}}

{{- /* A value as a flag takes it: whole numbers without an exponent, lists with commas. */ -}}
{{- define "memring.word" -}}
{{- if kindIs "slice" . -}}
{{- join "," . -}}
{{- else if and (kindIs "float64" .) (eq . (floor .)) -}}
{{- int64 . -}}
{{- else -}}
{{- toString . -}}
{{- end -}}
{{- end -}}

{{- define "memring.env" -}}
- name: POD_NAME
  valueFrom:
    fieldRef:
      fieldPath: metadata.name
- name: POD_NAMESPACE
  valueFrom:
    fieldRef:
      fieldPath: metadata.namespace
- name: MEMRING_NAME
  valueFrom:
    fieldRef:
      fieldPath: metadata.name
- name: MEMRING_ADVERTISE
  valueFrom:
    fieldRef:
      fieldPath: status.podIP
{{- if and .Values.zone.fromPodLabel (not .Values.zone.name) }}
- name: MEMRING_ZONE
  valueFrom:
    fieldRef:
      fieldPath: metadata.labels['topology.kubernetes.io/zone']
{{- end }}
{{- if .Values.drainOnScaleIn.enabled }}
- name: MEMRING_STATEFULSET
  value: {{ include "memring.fullname" . }}
{{- end }}
{{- with .Values.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- /* The file that says levels by key prefix. A JSON string is a TOML string. */ -}}
{{- define "memring.toml" -}}
{{- range .Values.namespaces }}
[[namespace]]
prefix = {{ .prefix | toJson }}
{{- with .read }}
read = {{ toString . | toJson }}
{{- end }}
{{- with .write }}
write = {{ toString . | toJson }}
{{- end }}
{{ end }}
{{- end -}}

{{- define "memring.volumeMounts" -}}
{{- if .Values.persistence.enabled }}
- name: data
  mountPath: /data
{{- end }}
{{- if .Values.namespaces }}
- name: config
  mountPath: /etc/memring/config
  readOnly: true
{{- end }}
{{- if .Values.auth.existingSecret }}
- name: auth
  mountPath: /etc/memring/auth
  readOnly: true
{{- end }}
{{- if .Values.drainOnScaleIn.enabled }}
- name: api-access
  mountPath: /var/run/secrets/kubernetes.io/serviceaccount
  readOnly: true
{{- end }}
{{- with .Values.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- /* The token is mounted by hand: only the node's container sees it, and only where it is needed. */ -}}
{{- define "memring.volumes" -}}
{{- if .Values.namespaces }}
- name: config
  configMap:
    name: {{ include "memring.fullname" . }}
{{- end }}
{{- if .Values.auth.existingSecret }}
- name: auth
  secret:
    secretName: {{ .Values.auth.existingSecret }}
{{- end }}
{{- if .Values.drainOnScaleIn.enabled }}
- name: api-access
  projected:
    sources:
      - serviceAccountToken:
          path: token
          expirationSeconds: 3607
      - configMap:
          name: kube-root-ca.crt
          items:
            - key: ca.crt
              path: ca.crt
      - downwardAPI:
          items:
            - path: namespace
              fieldRef:
                fieldPath: metadata.namespace
{{- end }}
{{- with .Values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "memring.topologySpread" -}}
{{- range $key := list "topology.kubernetes.io/zone" "kubernetes.io/hostname" }}
- maxSkew: 1
  topologyKey: {{ $key }}
  whenUnsatisfiable: ScheduleAnyway
  labelSelector:
    matchLabels:
      {{- include "memring.selectorLabels" $ | nindent 6 }}
{{- end }}
{{- end -}}
