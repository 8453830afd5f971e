// The Prometheus operator's CRDs, which its module holds as files; go.sum beside it pins every byte. Nothing is built.
module corefit.dev/devcluster/prometheus-operator

go 1.26.4

require github.com/prometheus-operator/prometheus-operator v0.85.0
