# The two commands that matter are `make demo` and `make test`; each does all of its own set-up.
SHELL := /bin/bash
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

VENV := .venv
STAMP := $(VENV)/.synced
# uv from PATH, or from a small venv of its own when the machine has none.
UV := $(or $(shell command -v uv 2>/dev/null),.uv/bin/uv)
RUN := $(UV) run --no-sync
CLUSTER ?= dev

.PHONY: help demo demo-docs test test-cgroup2 nightly lint bench bench-operator bench-autoscale bench-failover bench-floods bench-rollouts bench-resize bench-flash bench-startup bench-sidecar bench-mlperf bench-mutation bench-queue cluster-up cluster-down images setup

help: ## this list
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z0-9-]+):.*## (.*)/  make \1\t\2/' | expand -t 24

demo: setup ## a real cluster, Corefit, a model, load: replicas follow (KEEP=1 leaves the cluster)
	$(RUN) corefit demo $(if $(KEEP),--keep)

demo-docs: setup ## the same, and what it prints and draws goes into docs/demo.md
	@mkdir -p .demo
	set -o pipefail; $(RUN) corefit demo 2>&1 | tee .demo/transcript.txt
	$(RUN) python -m corefit.demo.transcript .demo/transcript.txt .demo/demo.png

test: setup ## unit, property and end-to-end tests, on a real cluster
	$(RUN) pytest -m "not nightly"

lint: setup ## ruff, mypy, import contracts, chart, drift of generated files
	$(RUN) ruff check
	$(RUN) ruff format --check
	$(RUN) mypy
	$(RUN) lint-imports
	$(RUN) python -m corefit_operator.crd --check
	$(RUN) python docs/layers.py --check
	"$$($(RUN) corefit-devcluster build --which helm)" lint --strict charts/corefit

bench: setup ## the runtime against onnxruntime itself and against plain servers
	$(RUN) python bench/runtime/run.py

bench-autoscale: setup ## the recommender against other autoscalers on traces (TRACES=folder)
	$(RUN) python bench/autoscale/run.py $(if $(TRACES),--traces $(TRACES))

bench-operator: setup ## the operator with 50 to 500 resources of ten pods, on one core and a real API server (needs root)
	$(RUN) python bench/scale/run.py

bench-floods: setup ## what floods cost others: pods that answer without end, many and large resources (real API server, no kubelet)
	$(RUN) python bench/floods/pods.py
	$(RUN) pytest tests/faults/test_floods.py -s

bench-rollouts: setup ## requests during 100 rollouts and scalings (N=...), a drain and a kill -9, on a real cluster
	ROLLOUTS=$(or $(N),100) $(RUN) pytest tests/e2e/test_rollouts.py -s

bench-failover: setup ## seconds from the death of the leading operator to the next write (KILLS=20)
	KILLS=$(or $(KILLS),20) $(RUN) pytest tests/faults/test_failover.py -s

test-cgroup2: setup ## runtime and cluster on cgroup v2, in an emulated machine (needs root, an hour or two; nightly runs it)
	$(RUN) pytest -m nightly -s tests/cgroup2

nightly: setup ## what takes too long for `make test`: long runs of the fault tests, a machine with cgroup v2
	$(RUN) pytest -m nightly -s

bench-resize: setup ## random resizes of running pods under load (N=1000), on a real cluster
	RESIZES=$(or $(N),1000) RESULTS=$(CURDIR)/bench/results/resize/resizes.json $(RUN) pytest tests/e2e/test_resizes.py -s

bench-flash: setup ## a flash crowd on a real cluster: pods, CPU in place, HPAs, limits above requests (ONLY="a b" CROWD=far)
	$(RUN) python bench/flash/run.py $(if $(ONLY),--only $(ONLY)) $(if $(CROWD),--crowd $(CROWD))

bench-startup: setup ## a pod's start on a quarter of a core, with and without a boost, and where it goes
	PYTHONPATH=$(CURDIR) $(RUN) python bench/startup/run.py

bench-mlperf: setup ## MLPerf's load generator judges p99 within the objective at Poisson load
	$(RUN) python bench/mlperf/run.py

bench-mutation: setup ## mutation testing of core: 400 mutants against its quick tests (SAMPLE=..., MODULE="sizing spec", FOLDER=... to go on)
	PYTHONPATH=$(CURDIR) $(UV) run --no-sync --with cosmic-ray==8.7.0 --with coverage==7.11.0 python -m bench.mutation.run --sample $(or $(SAMPLE),400) $(MODULE:%=--module %) $(if $(FOLDER),--folder $(FOLDER))

bench-queue: setup ## blind clients before one to four pods, with and without one queue between them, on a real cluster
	PYTHONPATH=$(CURDIR) $(RUN) python bench/queue/run.py

bench-sidecar: setup ## a prediction by socket, loopback address and Service (N=rounds), on a real cluster
	ROUNDS=$(or $(N),16) $(RUN) pytest tests/e2e/test_sidecar_transport.py -s

cluster-up: setup ## a real one-machine Kubernetes for development
	$(RUN) corefit-devcluster up --name $(CLUSTER)

cluster-down: setup ## takes it down and leaves nothing behind
	$(RUN) corefit-devcluster down --name $(CLUSTER)

images: setup ## the images of operator, runtime and balancer, as OCI archives
	$(RUN) corefit-devcluster images

setup: $(STAMP) ## uv, and the packages by the lock; the programs are then in .venv/bin
	@$(if $(filter setup,$(MAKECMDGOALS)),echo "The programs corefit and corefit-devcluster are in .venv/bin: . .venv/bin/activate",:)

.uv/bin/uv:
	@command -v python3 >/dev/null || { echo "python3 is missing: install Python 3.11 or newer (Debian: apt-get install python3 python3-venv)"; exit 1; }
	python3 -m venv .uv
	.uv/bin/pip install --quiet 'uv==0.13.9'

$(STAMP): uv.lock pyproject.toml $(wildcard */pyproject.toml) | $(filter .uv/bin/uv,$(UV))
	@test "$$(uname -s)" = Linux || echo "not Linux: the cluster can't be made here; set KUBECONFIG to one of your own"
	$(UV) sync --frozen --all-packages --all-groups --all-extras
	@touch $@
