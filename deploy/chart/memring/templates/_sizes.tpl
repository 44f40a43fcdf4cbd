{{- /* Memory and seconds that follow from each other. Must not know which object they are written into. */ -}}

{{- /* How much, in KiB, a size says: `text`, with k, m or g behind it (Ki, Mi and Gi likewise), else of `unit` KiB each. */ -}}
{{- define "memring.kibibytes" -}}
{{- $text := .text | toString | lower | trimSuffix "i" -}}
{{- $number := regexFind "^[0-9]+" $text | int64 -}}
{{- if hasSuffix "g" $text -}}{{- mul $number 1048576 -}}
{{- else if hasSuffix "m" $text -}}{{- mul $number 1024 -}}
{{- else if hasSuffix "k" $text -}}{{- $number -}}
{{- else -}}{{- mul $number .unit -}}
{{- end -}}
{{- end -}}

{{- define "memring.memoryMiB" -}}
{{- div (include "memring.kibibytes" (dict "text" .Values.memory "unit" 1024)) 1024 -}}
{{- end -}}

{{- define "memring.hintMemoryMiB" -}}
{{- div (include "memring.kibibytes" (dict "text" .Values.hintMemory "unit" 1024)) 1024 -}}
{{- end -}}

{{- define "memring.hintDiskMiB" -}}
{{- $size := div (include "memring.kibibytes" (dict "text" .Values.persistence.size "unit" 1024)) 1024 | int64 -}}
{{- if .Values.persistence.hintDisk -}}
{{- div (include "memring.kibibytes" (dict "text" .Values.persistence.hintDisk "unit" 1024)) 1024 -}}
{{- else -}}
{{- div $size 2 -}}
{{- end -}}
{{- end -}}

{{- /*
What a node's process may take: 1.2 times its items, as charts of memcached give. Items of m MiB take 1.05 m of resident
memory; beside them are 32 MiB, 4 KiB a connection, and the hints: a small node needs more than 1.2 m for these.
*/ -}}
{{- define "memring.limitMiB" -}}
{{- $memory := include "memring.memoryMiB" . | int64 -}}
{{- $resident := div (add (mul $memory 21) 19) 20 -}}
{{- $connections := div (add (mul (int64 .Values.connectionLimit) 4) 1023) 1024 -}}
{{- $beside := add 32 $connections (include "memring.hintMemoryMiB" . | int64) -}}
{{- max (div (add (mul $memory 6) 4) 5) (add $resident $beside) -}}
{{- end -}}

{{- define "memring.resources" -}}
{{- if .Values.resources -}}
{{- toYaml .Values.resources -}}
{{- else -}}
requests:
  cpu: {{ .Values.allocatedCPU }}
  memory: {{ include "memring.limitMiB" . }}Mi
limits:
  memory: {{ include "memring.limitMiB" . }}Mi
{{- end -}}
{{- end -}}

{{- /*
Most seconds that a drain is waited for. The others fetch a share at up to 64 MiB a second each; half of that is reckoned,
as if one of them took all. No more than 1800: the longest period of an autoscaler.
*/ -}}
{{- define "memring.drainSeconds" -}}
{{- if not .Values.drainOnScaleIn.enabled -}}
0
{{- else if .Values.drainOnScaleIn.waitSeconds -}}
{{- int64 .Values.drainOnScaleIn.waitSeconds -}}
{{- else -}}
{{- min 1800 (max 120 (add 60 (div (include "memring.memoryMiB" . | int64) 32))) -}}
{{- end -}}
{{- end -}}

{{- /* The least that a stop may need: kubelet counts from the beginning of the preStop hook. */ -}}
{{- define "memring.graceSecondsMin" -}}
{{- add (int64 .Values.lingerSeconds) (include "memring.drainSeconds" . | int64) (int64 .Values.stopWaitSeconds) 10 -}}
{{- end -}}

{{- define "memring.graceSeconds" -}}
{{- if .Values.terminationGracePeriodSeconds -}}
{{- int64 .Values.terminationGracePeriodSeconds -}}
{{- else -}}
{{- add (include "memring.graceSecondsMin" . | int64) 20 -}}
{{- end -}}
{{- end -}}

{{- /* Seconds from one scale-in to the next; takes `root` and `scaleDown`. */ -}}
{{- define "memring.scaleDownPeriod" -}}
{{- if .scaleDown.periodSeconds -}}
{{- int64 .scaleDown.periodSeconds -}}
{{- else -}}
{{- min 1800 (max 300 (include "memring.graceSecondsMin" .root | int64)) -}}
{{- end -}}
{{- end -}}

{{- /* The fewest nodes there are. */ -}}
{{- define "memring.nodesMin" -}}
{{- if .Values.autoscaling.enabled -}}
{{- int64 .Values.autoscaling.minReplicas -}}
{{- else if .Values.keda.enabled -}}
{{- int64 .Values.keda.minReplicaCount -}}
{{- else -}}
{{- int64 .Values.replicas -}}
{{- end -}}
{{- end -}}

{{- /* How an autoscaler of either kind scales: out as told, in by one node at a time. Takes `root` and `scaling`. */ -}}
{{- define "memring.scalingBehavior" -}}
scaleUp:
  {{- toYaml .scaling.scaleUp | nindent 2 }}
scaleDown:
  stabilizationWindowSeconds: {{ int64 .scaling.scaleDown.stabilizationWindowSeconds }}
  policies:
    - type: Pods
      value: 1
      periodSeconds: {{ include "memring.scaleDownPeriod" (dict "root" .root "scaleDown" .scaling.scaleDown) }}
{{- end -}}
