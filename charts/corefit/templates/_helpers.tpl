{{- define "corefit.name" -}}
{{- .Release.Name | trunc 53 | trimSuffix "-" }}
{{- end }}

{{- define "corefit.serviceAccountName" -}}
{{- .Values.serviceAccount.name | default (include "corefit.name" .) }}
{{- end }}

{{- /* The images have no defaults: a name in a public registry would belong to whoever registers it. */}}
{{- define "corefit.operatorRepository" -}}
{{- required (include "corefit.imageMissing" "image.repository") .Values.image.repository }}
{{- end }}

{{- define "corefit.runtimeImage" -}}
{{- required (include "corefit.imageMissing" "runtimeImage") .Values.runtimeImage }}
{{- end }}

{{- define "corefit.imageMissing" -}}
The value {{ . }} is not set. Corefit's images are in no public registry: build them with `make images`, push them to a registry of yours, and set image.repository and runtimeImage
{{- end }}

{{- define "corefit.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{ include "corefit.selector" . }}
{{- end }}

{{- define "corefit.selector" -}}
app.kubernetes.io/name: corefit-operator
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- /* What the operator does, verb by verb: nothing here is unused, and there is no wildcard. */}}
{{- define "corefit.rules" -}}
- apiGroups: [serving.corefit.dev]
  resources: [inferenceservices]
  verbs: [get, list, watch]
- apiGroups: [serving.corefit.dev]
  resources: [inferenceservices/status]
  verbs: [patch]
# blockOwnerDeletion in the children's owner references (OwnerReferencesPermissionEnforcement).
- apiGroups: [serving.corefit.dev]
  resources: [inferenceservices/finalizers]
  verbs: [update]
- apiGroups: [""]
  resources: [pods]
  verbs: [list, watch]
# CPU in place.
- apiGroups: [""]
  resources: [pods/resize]
  verbs: [patch]
- apiGroups: [""]
  resources: [services, serviceaccounts]
  verbs: [get, list, watch, create, patch]
- apiGroups: [apps]
  resources: [deployments]
  verbs: [get, list, watch, create, patch]
- apiGroups: [apps]
  resources: [deployments/scale, statefulsets/scale]
  verbs: [patch]
# What scaling.targetRef names, and whether someone else scales it already.
- apiGroups: [apps]
  resources: [statefulsets]
  verbs: [get]
- apiGroups: [autoscaling]
  resources: [horizontalpodautoscalers]
  verbs: [list]
- apiGroups: [policy]
  resources: [poddisruptionbudgets]
  verbs: [get, list, watch, create, patch]
- apiGroups: [networking.k8s.io]
  resources: [networkpolicies]
  verbs: [get, list, watch, create, patch]
{{- if .Values.httpRoutes }}
- apiGroups: [gateway.networking.k8s.io]
  resources: [httproutes]
  verbs: [get, create, patch]
{{- end }}
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create]
{{- end }}

{{- /* Whether the policies that inject sidecars are installed. */}}
{{- define "corefit.injection" -}}
{{- $served := .Capabilities.APIVersions.Has "admissionregistration.k8s.io/v1/MutatingAdmissionPolicy" }}
{{- if or (eq .Values.injection.install "Always") (and (eq .Values.injection.install "Auto") $served) }}true{{ end }}
{{- end }}

{{- define "corefit.policy" -}}
{{ include "corefit.name" . }}-inject-{{ .Release.Namespace }}
{{- end }}

{{- /* Whether resources are checked against the values of `policy` by the API server as well. */}}
{{- define "corefit.policyServed" -}}
{{- $served := .Capabilities.APIVersions.Has "admissionregistration.k8s.io/v1/ValidatingAdmissionPolicy" }}
{{- if or (eq .Values.policy.install "Always") (and (eq .Values.policy.install "Auto") $served) }}true{{ end }}
{{- end }}

{{- /* CEL: whether `name`, an expression, is in `allowed`, whose entries are prefixes where they end with an asterisk. */}}
{{- define "corefit.listed" -}}
{{- $exact := list }}{{ $prefixes := list }}
{{- range .allowed }}
{{- if hasSuffix "*" . }}{{ $prefixes = append $prefixes (trimSuffix "*" .) }}{{ else }}{{ $exact = append $exact . }}{{ end }}
{{- end -}}
({{ .name }} in {{ toJson $exact }} || {{ toJson $prefixes }}.exists(prefix, {{ .name }}.startsWith(prefix)))
{{- end }}

{{- define "corefit.injectionNamespaces" -}}
{{- with .Values.watchNamespaces -}}
matchResources:
  namespaceSelector:
    matchExpressions:
      - key: kubernetes.io/metadata.name
        operator: In
        values: {{ toJson . }}
{{- end }}
{{- end }}
