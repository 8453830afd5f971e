"""The gauges of one resource, from what a reconcile found. May not decide anything."""

from corefit_core.service import Service
from corefit_operator.cache.view import Key
from corefit_operator.status import cost
from corefit_operator.status.result import Result
from corefit_operator.telemetry.metrics import Metrics


def publish(metrics: Metrics, key: Key, service: Service, found: Result) -> None:
    """Sets the gauges."""
    metrics.replicas.labels(*key, "ready").set(found.ready)
    metrics.replicas.labels(*key, "present").set(len(found.pods))
    metrics.replicas.labels(*key, "desired").set(found.desired)
    metrics.cost.labels(*key).set(cost.per_hour(service, found.pods))
    cpu, burst = found.cpu, found.burst
    sizes = (cpu.wanted, min(cpu.granted, default=0), max(cpu.granted, default=0)) if cpu is not None else None
    metrics.set_kinds(metrics.millicores, key, ("wanted", "least", "most"), sizes)
    cores = (burst.lent_cores, burst.short_cores) if burst is not None else None
    metrics.set_kinds(metrics.burst, key, ("lent", "short"), cores)
    if found.decision is not None:
        metrics.decided(key, found.decision)
