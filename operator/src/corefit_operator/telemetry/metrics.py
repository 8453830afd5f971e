"""Prometheus metrics of the operator, in a registry of their own. May not decide anything."""

from collections.abc import Sequence
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from corefit_core.recommender import Decision
from corefit_operator.cache.view import Key

_SERVICE: Final = ("namespace", "name")
_SECONDS: Final = (0.005, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 15.0)
"""Buckets, seconds: a reconcile without writes takes about 5 ms, one with five applies about 200."""


class Metrics:
    """All of them, and the registry that they are in."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        self.reconciles = Counter("corefit_reconciles", "Reconciles by result.", ("result",), registry=registry)
        self.reconcile_seconds = Histogram(
            "corefit_reconcile_seconds", "Seconds of one reconcile.", buckets=_SECONDS, registry=registry
        )
        self.requests = Counter(
            "corefit_api_requests", "Requests to the API server.", ("verb", "resource", "code"), registry=registry
        )
        self.reports = Counter("corefit_reports", "Reports asked of pods, by outcome.", ("outcome",), registry=registry)
        self.calls = Counter(
            "corefit_attention_calls", "Pods that had a long queue before the next look.", _SERVICE, registry=registry
        )
        self.decisions = Counter(
            "corefit_decisions", "Decisions of the recommender.", (*_SERVICE, "reason"), registry=registry
        )
        self.scalings = Counter(
            "corefit_scalings", "Changes of replicas that were made.", (*_SERVICE, "direction"), registry=registry
        )
        self.replicas = Gauge(
            "corefit_replicas",
            "Replicas: ready, present, desired, recommended.",
            (*_SERVICE, "kind"),
            registry=registry,
        )
        self.offered = Gauge("corefit_offered_erlangs", "Offered load in busy workers.", _SERVICE, registry=registry)
        self.latency = Gauge(
            "corefit_latency_seconds", "Measured latency at the objective's percentile.", _SERVICE, registry=registry
        )
        self.cost = Gauge(
            "corefit_cost_per_hour",
            "Cost an hour of the pods that have a node, in the resource's currency.",
            _SERVICE,
            registry=registry,
        )
        self.resizes = Counter(
            "corefit_resizes",
            "Resizes of pods in place: wanted, granted, deferred, infeasible, ignored, refused.",
            (*_SERVICE, "outcome"),
            registry=registry,
        )
        self.resize_seconds = Histogram(
            "corefit_resize_seconds",
            "Seconds from the request to resize a pod until its process reports the new grant.",
            _SERVICE,
            buckets=_SECONDS,
            registry=registry,
        )
        self.millicores = Gauge(
            "corefit_pod_millicores", "CPU of a pod: wanted, least, most.", (*_SERVICE, "kind"), registry=registry
        )
        self.burst = Gauge(
            "corefit_burst_cores",
            "Cores beyond the pods' requests: lent by their nodes, and short, wanted as well and not had.",
            (*_SERVICE, "kind"),
            registry=registry,
        )
        self._published: dict[Gauge, set[Key]] = {self.millicores: set(), self.burst: set()}
        self.leader = Gauge("corefit_leader", "1 where this operator leads, 0 where it stands by.", registry=registry)
        self.dirty = Gauge("corefit_dirty_resources", "Resources that wait for a reconcile.", registry=registry)

    def request(self, verb: str, resource: str, status: int) -> None:
        """One request to the API server."""
        self.requests.labels(verb, resource, str(status)).inc()

    def report(self, outcome: str) -> None:
        """The operator asked one pod for its report."""
        self.reports.labels(outcome).inc()

    def call(self, key: Key) -> None:
        """A pod asked to be looked at."""
        self.calls.labels(*key).inc()

    def scaled(self, key: Key, current: int, replicas: int) -> None:
        """Replicas were changed."""
        self.scalings.labels(*key, "up" if replicas > current else "down").inc()

    def resize(self, key: Key, outcome: str) -> None:
        """The operator requested a resize, or something came of it."""
        self.resizes.labels(*key, outcome).inc()

    def set_kinds(self, gauge: Gauge, key: Key, kinds: Sequence[str], values: Sequence[float] | None) -> None:
        """Sets the gauge of each kind, or takes them away where there is nothing to say any more."""
        published = self._published[gauge]
        if values is not None:
            published.add(key)
            for kind, value in zip(kinds, values, strict=True):
                gauge.labels(*key, kind).set(value)
        elif key in published:
            published.discard(key)
            for kind in kinds:
                gauge.remove(*key, kind)

    def decided(self, key: Key, decision: Decision) -> None:
        """The recommender has decided."""
        self.decisions.labels(*key, decision.reason).inc()
        self.replicas.labels(*key, "recommended").set(decision.replicas)
        if decision.offered_erlangs is not None:
            self.offered.labels(*key).set(decision.offered_erlangs)
        if decision.latency_s is None:
            self.latency.remove_by_labels({"namespace": key.namespace, "name": key.name})
        else:
            self.latency.labels(*key).set(decision.latency_s)

    def forget(self, key: Key) -> None:
        """The resource is gone, and so are its series."""
        labels = {"namespace": key.namespace, "name": key.name}
        per_service = (self.calls, self.decisions, self.scalings, self.replicas, self.offered, self.latency, self.cost)
        for metric in (*per_service, self.resizes, self.resize_seconds, self.millicores, self.burst):
            metric.remove_by_labels(labels)
        for published in self._published.values():
            published.discard(key)

    def text(self) -> bytes:
        """In Prometheus' text format."""
        return generate_latest(self.registry)
