{{/* The labels of the CRD. Labels that are given come first, so that they cannot hide ours. */}}
{{- define "microservice-operator.labels" -}}
{{- $ours := dict
  "app.kubernetes.io/name" "microservice-operator"
  "app.kubernetes.io/instance" .Release.Name
  "app.kubernetes.io/version" .Chart.AppVersion
  "app.kubernetes.io/part-of" "microservice-operator"
  "app.kubernetes.io/managed-by" .Release.Service
  "helm.sh/chart" (printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-")
-}}
{{- toYaml (merge $ours .Values.commonLabels) -}}
{{- end -}}
