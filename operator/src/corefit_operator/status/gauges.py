"""The gauges of one resource, from what a reconcile came to. May not decide anything."""

from corefit_core.spec.serving_spec import ServingSpec
from corefit_operator.cache.view import Key
from corefit_operator.status import cost
from corefit_operator.status.outcome import Outcome
from corefit_operator.telemetry.metrics import Metrics


def publish(metrics: Metrics, key: Key, spec: ServingSpec, outcome: Outcome) -> None:
    """Sets the gauges."""
    observed, cpu, burst = outcome.observed, outcome.cpu, outcome.observed.burst
    metrics.replicas.labels(*key, "ready").set(observed.ready)
    metrics.replicas.labels(*key, "present").set(len(observed.pods))
    metrics.replicas.labels(*key, "desired").set(outcome.scaled.desired)
    metrics.cost.labels(*key).set(cost.per_hour(spec, observed.pods, outcome.balancers))
    sizes = (cpu.wanted, min(cpu.granted, default=0), max(cpu.granted, default=0)) if cpu is not None else None
    metrics.set_kinds(metrics.millicores, key, ("wanted", "least", "most"), sizes)
    cores = (burst.lent_cores, burst.short_cores) if burst is not None else None
    metrics.set_kinds(metrics.burst, key, ("lent", "short"), cores)
    if outcome.decision is not None:
        metrics.decided(key, outcome.decision)
