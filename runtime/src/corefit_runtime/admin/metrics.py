"""The Prometheus exposition: a collector that reads the meter when it is scraped.

Names follow Prometheus' conventions (base units, `_total`); the label `model` is on all that concern the model.
"""

from collections.abc import Iterator, Sequence
from typing import Final

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, InfoMetricFamily
from prometheus_client.exposition import generate_latest
from prometheus_client.metrics_core import Metric

from corefit_core.histogram import BOUNDS_S, Histogram
from corefit_core.report import Counters, Gauges
from corefit_runtime import __version__
from corefit_runtime.admin.report import Reporter
from corefit_runtime.telemetry.meter import Meter, max_resident_bytes

EVERY: Final = 4
"""Every fourth bound is exported: doubling buckets, 21 a histogram instead of 81."""


def render(reporter: Reporter) -> bytes:
    """The text that `/metrics` answers."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collector(reporter))
    return bytes(generate_latest(registry))


class _Collector:
    def __init__(self, reporter: Reporter) -> None:
        self._reporter = reporter

    def collect(self) -> Iterator[Metric]:
        """All families, from one snapshot."""
        reporter = self._reporter
        model = reporter.settings.name
        counters = reporter.counters()
        yield from _request_counters(counters, reporter.meter, model)
        yield from _cpu_counters(counters)
        if reporter.cpu.throttling().counted:
            yield from _throttling_counters(counters)
        yield from _gauges(reporter, model)
        meter = reporter.meter
        for name, text, live in (
            ("corefit_queue_wait_seconds", "From arrival to the start of the first run.", meter.queue_wait),
            ("corefit_service_seconds", "Worker time that a request took.", meter.service_time),
            ("corefit_request_seconds", "From arrival to the answer.", meter.total),
        ):
            yield _histogram(name, text, live.frozen(), ("model",), (model,))
        lag = "How late the event loop came to a timer."
        yield _histogram("corefit_event_loop_lag_seconds", lag, meter.loop_lag.frozen(), (), ())
        info = InfoMetricFamily("corefit_build", "Version of the runtime.")
        info.add_metric((), {"version": __version__})
        yield info


def _request_counters(counters: Counters, meter: Meter, model: str) -> Iterator[Metric]:
    for name, text, value in (
        ("corefit_requests", "Requests that arrived, and were well-formed.", counters.arrivals),
        ("corefit_requests_admitted", "Requests that were taken.", counters.admitted),
        ("corefit_requests_completed", "Requests that were answered.", counters.completed),
        ("corefit_requests_failed", "Requests that failed by a fault of the server.", counters.failed),
        ("corefit_requests_expired", "Requests whose deadline passed in the queue.", counters.expired),
        ("corefit_requests_cancelled", "Requests whose client hung up.", counters.cancelled),
        ("corefit_requests_invalid", "Requests that the client got wrong.", meter.invalid),
    ):
        family = CounterMetricFamily(name, text, labels=("model",))
        family.add_metric((model,), value)
        yield family
    rejected = CounterMetricFamily("corefit_requests_rejected", "Requests turned away.", labels=("model", "cause"))
    for cause, count in meter.rejected.items():
        rejected.add_metric((model, cause), count)
    yield rejected


def _cpu_counters(counters: Counters) -> Iterator[Metric]:
    for name, text, value in (
        ("corefit_busy_worker_seconds", "Time that workers spent on requests.", counters.busy_worker_seconds),
        ("process_cpu_seconds", "User and system CPU time.", counters.cpu_seconds),
        ("corefit_runqueue_wait_seconds", "Time runnable without a CPU.", counters.runqueue_wait_seconds),
    ):
        yield CounterMetricFamily(name, text, value=value)


def _throttling_counters(counters: Counters) -> Iterator[Metric]:
    for name, text, value in (
        ("corefit_throttled_periods", "CFS periods in which the quota ran out.", counters.throttled_periods),
        ("corefit_throttled_seconds", "Time stopped for lack of quota.", counters.throttled_seconds),
    ):
        yield CounterMetricFamily(name, text, value=value)


def _gauges(reporter: Reporter, model: str) -> Iterator[Metric]:
    gauges, plan = reporter.gauges(), reporter.plan
    for name, text, value in (
        ("corefit_requests_queued", "Requests that wait for a worker.", gauges.queued),
        ("corefit_requests_in_flight", "Requests in the process.", gauges.in_flight),
        ("corefit_workers_busy", "Workers that run the model.", gauges.busy_workers),
        ("corefit_ready", "Whether the model is served.", int(reporter.readiness.ready)),
        ("corefit_plan_workers", "Worker threads of the plan in force.", plan.workers),
        ("corefit_plan_threads_per_worker", "Threads of one run.", plan.threads_per_worker),
        ("corefit_plan_queue_depth", "Requests that may wait.", plan.queue_depth),
        ("corefit_plan_chunk_rows", "Rows of one run of a large request; 0: not cut.", plan.chunk_rows),
        ("corefit_plan_batch_rows", "Rows up to which requests are joined; 0: not.", plan.batch_rows),
        ("corefit_grant_cores", "CPU granted.", plan.grant_millicores / 1000),
        ("corefit_objective_seconds", "The latency objective.", reporter.settings.objective_s),
    ):
        family = GaugeMetricFamily(name, text, labels=("model",))
        family.add_metric((model,), value)
        yield family
    yield GaugeMetricFamily("corefit_max_resident_bytes", "Largest resident set.", value=max_resident_bytes())
    yield from _for_endpoint_pickers(gauges, model, reporter.settings.model_version)


def _for_endpoint_pickers(gauges: Gauges, model: str, version: str) -> Iterator[Metric]:
    """By the names of Triton and of its TensorRT-LLM backend, which those of the Gateway API know."""
    text = "Requests that wait for a worker, as Triton names them."
    pending = GaugeMetricFamily("nv_inference_pending_request_count", text, labels=("model", "version"))
    pending.add_metric((model, version), gauges.queued)
    yield pending
    text = "Requests that wait for a worker and that have one, as Triton's TensorRT-LLM backend names them."
    requests = GaugeMetricFamily("nv_trt_llm_request_metrics", text, labels=("model", "version", "request_type"))
    requests.add_metric((model, version, "waiting"), gauges.queued)
    requests.add_metric((model, version, "scheduled"), gauges.running)
    yield requests


def _histogram(
    name: str, text: str, value: Histogram, labels: Sequence[str], values: Sequence[str]
) -> HistogramMetricFamily:
    buckets: list[tuple[str, float]] = []
    total = 0
    for index, bound in enumerate(BOUNDS_S):
        total += value.counts[index] if index < len(value.counts) else 0
        if index % EVERY == 0:
            buckets.append((f"{bound:g}", float(total)))
    buckets.append(("+Inf", float(value.count)))
    family = HistogramMetricFamily(name, text, labels=labels)
    family.add_metric(values, buckets, value.sum_s)
    return family
