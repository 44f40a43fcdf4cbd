{{- /*
Values that make sense each, and not together: one clear line for the first of them. Must not know what the values are used
for. What a single value may be is said by values.schema.json.
*/ -}}

{{- define "memring.checks" -}}
{{- if gt (len (include "memring.fullname" .)) 50 -}}
{{- fail (printf "memring: fullnameOverride %s is longer than 50 characters" .Values.fullnameOverride) -}}
{{- end -}}
{{- if and .Values.service.headless (ne .Values.service.type "ClusterIP") -}}
{{- fail (printf "memring: service.headless excludes service.type %s" .Values.service.type) -}}
{{- end -}}
{{- include "memring.checkNode" . -}}
{{- include "memring.checkTimes" . -}}
{{- if and .Values.autoscaling.enabled .Values.keda.enabled -}}
{{- fail "memring: autoscaling.enabled and keda.enabled exclude each other" -}}
{{- end -}}
{{- $autoscaling := .Values.autoscaling -}}
{{- if $autoscaling.enabled -}}
{{- include "memring.checkScaling" (dict "root" . "name" "autoscaling" "scaling" $autoscaling "least" "minReplicas" "most" "maxReplicas") -}}
{{- end -}}
{{- $keda := .Values.keda -}}
{{- if $keda.enabled -}}
{{- include "memring.checkScaling" (dict "root" . "name" "keda" "scaling" $keda "least" "minReplicaCount" "most" "maxReplicaCount") -}}
{{- end -}}
{{- end -}}

{{- define "memring.checkNode" -}}
{{- $memory := include "memring.kibibytes" (dict "text" .Values.memory "unit" 1024) | int64 -}}
{{- $item := include "memring.kibibytes" (dict "text" .Values.maxItemSize "unit" 0) | int64 -}}
{{- if gt (mul $item 2) $memory -}}
{{- fail (printf "memring: maxItemSize %v is more than half of memory %v" .Values.maxItemSize .Values.memory) -}}
{{- end -}}
{{- $copies := int64 .Values.copies -}}
{{- range $name := list "readLevel" "writeLevel" -}}
{{- $level := get $.Values $name | toString -}}
{{- if and (regexMatch "^[0-9]+$" $level) (gt (int64 $level) $copies) -}}
{{- fail (printf "memring: %s %s is more than copies %d" $name $level $copies) -}}
{{- end -}}
{{- end -}}
{{- if .Values.persistence.enabled -}}
{{- $size := div (include "memring.kibibytes" (dict "text" .Values.persistence.size "unit" 1024)) 1024 | int64 -}}
{{- if gt (include "memring.hintDiskMiB" . | int64) $size -}}
{{- fail (printf "memring: persistence.hintDisk %v is more than persistence.size %v" .Values.persistence.hintDisk .Values.persistence.size) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "memring.checkTimes" -}}
{{- $needed := include "memring.graceSecondsMin" . | int64 -}}
{{- if lt (include "memring.graceSeconds" . | int64) $needed -}}
{{- fail (printf "memring: terminationGracePeriodSeconds %v is less than lingerSeconds %v, a drain of %s s, stopWaitSeconds %v and 10 s: %d" .Values.terminationGracePeriodSeconds .Values.lingerSeconds (include "memring.drainSeconds" .) .Values.stopWaitSeconds $needed) -}}
{{- end -}}
{{- end -}}

{{- /* Takes `root`, the `scaling` section with its `name`, and what its `least` and `most` are called. */ -}}
{{- define "memring.checkScaling" -}}
{{- $values := .root.Values -}}
{{- $least := int64 (get .scaling .least) -}}
{{- $most := int64 (get .scaling .most) -}}
{{- if not $values.drainOnScaleIn.enabled -}}
{{- fail (printf "memring: %s.enabled needs drainOnScaleIn.enabled: a node must hand its share over before it goes" .name) -}}
{{- end -}}
{{- if lt $least (int64 $values.copies) -}}
{{- fail (printf "memring: %s.%s %d is less than copies %d" .name .least $least (int64 $values.copies)) -}}
{{- end -}}
{{- if lt $most $least -}}
{{- fail (printf "memring: %s.%s %d is less than %s.%s %d" .name .most $most .name .least $least) -}}
{{- end -}}
{{- $period := include "memring.scaleDownPeriod" (dict "root" .root "scaleDown" .scaling.scaleDown) | int64 -}}
{{- $drain := include "memring.drainSeconds" .root | int64 -}}
{{- if lt $period $drain -}}
{{- fail (printf "memring: %s.scaleDown.periodSeconds %d is less than a drain of %d s" .name $period $drain) -}}
{{- end -}}
{{- end -}}
