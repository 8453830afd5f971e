"""The admin port: liveness, readiness, report, metrics. Never touches the model, never waits for the pool."""

from typing import Final

from corefit_core import report
from corefit_core.report import ATTENTION_PATH, LONG, REPORT_PATH
from corefit_runtime.admin.held import Held
from corefit_runtime.admin.report import Reporter
from corefit_runtime.admin.routes import Routes
from corefit_runtime.http.exchange import Exchange
from corefit_runtime.http.messages import TEXT, Response
from corefit_runtime.serving.readiness import Readiness
from corefit_runtime.telemetry.attention import Attention

METRICS_TYPE: Final = b"text/plain; version=1.0.0; charset=utf-8"
HOLD_S: Final = 1.0
"""Seconds for which the question whether a loading process is ready waits for the answer to be yes: the period of the
kubelet's probes, so that the next one is due when this one ends, and half of their timeout."""
ATTENTION_S: Final = 5.0
"""Seconds for which the question whether a queue is long waits for it: less than a request through the API server's
proxy may take, and a request of 0.1 ms so often is nothing."""


class AdminApi(Routes):
    """The handler of the admin port, which changes nothing.

    Args:
        readiness: whether the process serves.
        reporter: what it reports.
        attention: calls when its queue is long.
    """

    def __init__(self, readiness: Readiness, reporter: Reporter, attention: Attention) -> None:
        self._readiness = readiness
        self._reporter = reporter
        self._attention = attention
        self._loading = Held(HOLD_S, self._ready_or_not)
        self._quiet = Held(ATTENTION_S, self._queue_length)
        readiness.subscribe(self._state_changed)
        super().__init__(
            {
                (b"GET", "/livez"): self._live,
                (b"GET", "/readyz"): self._ready,
                (b"GET", REPORT_PATH): self._report,
                (b"GET", ATTENTION_PATH): self._queue,
                (b"GET", "/metrics"): self._metrics,
            }
        )

    def _live(self, exchange: Exchange) -> None:
        # That the loop came round to answer is all that liveness means: it must not depend on load or model.
        exchange.reply(Response(200, [b"alive\n"], TEXT))

    def _ready(self, exchange: Exchange) -> None:
        # A kubelet that asked just before would hear of it a period later: of a start of a second, half on average.
        if self._readiness.state == "Loading":
            self._loading.hold(exchange)
        else:
            exchange.reply(self._ready_or_not())

    def _ready_or_not(self) -> Response:
        readiness = self._readiness
        if readiness.ready:
            return Response(200, [b"ready\n"], TEXT)
        text = " ".join(part for part in (readiness.state, readiness.reason, readiness.message) if part)
        return Response(503, [text.encode() + b"\n"], TEXT)

    def _state_changed(self) -> None:
        self._loading.release()
        if self._readiness.draining:
            self._quiet.release()

    def _report(self, exchange: Exchange) -> None:
        exchange.reply(Response(200, [report.encode(self._reporter.report())]))

    def _queue(self, exchange: Exchange) -> None:
        # Who asks need not ask often, and hears of a crowd as soon as requests have to wait for long.
        # Nor is the end of a process kept waiting for its questions.
        if self._is_long() or self._readiness.draining:
            exchange.reply(self._queue_length())
        else:
            self._quiet.hold(exchange)
            self._attention.listen(self._call)

    def _call(self) -> None:
        # Not by another look at the queue: a worker may have taken one of it, and what was refused is not in it.
        self._quiet.release(Response(200, [LONG], TEXT))

    def _queue_length(self) -> Response:
        if not self._quiet:
            self._attention.listen(None)
        return Response(200, [LONG if self._is_long() else b"quiet\n"], TEXT)

    def _is_long(self) -> bool:
        return self._attention.is_long(self._reporter.gauges().wait_seconds)

    def _metrics(self, exchange: Exchange) -> None:
        # At the first scrape, not at the start: the library takes 50 ms of CPU to import.
        from corefit_runtime.admin import metrics  # noqa: PLC0415

        exchange.reply(Response(200, [metrics.render(self._reporter)], METRICS_TYPE))
