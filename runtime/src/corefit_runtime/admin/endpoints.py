"""The admin port: liveness, readiness, report, metrics. Never touches the model, never waits for the pool."""

import asyncio
from collections.abc import Callable
from typing import Final

from corefit_core import report
from corefit_core.report import ATTENTION_PATH, LONG, REPORT_PATH
from corefit_runtime.http.exchange import Exchange
from corefit_runtime.http.messages import TEXT, Response
from corefit_runtime.telemetry.service import Service

Route = Callable[[Exchange], None]
METRICS_TYPE: Final = b"text/plain; version=1.0.0; charset=utf-8"
HOLD_S: Final = 1.0
"""Seconds for which the question whether a loading process is ready waits for the answer to be yes: the period of the
kubelet's probes, so that the next one is due when this one ends, and half of their timeout."""
ATTENTION_S: Final = 5.0
"""Seconds for which the question whether a queue is long waits for it: less than a request through the API server's
proxy may take, and a request of 0.1 ms so often is nothing."""


class Held:
    """Questions that wait for their answer to be another one, a while at most."""

    def __init__(self, seconds: float, answer: Callable[[], Response]) -> None:
        self._loop = asyncio.get_running_loop()
        self._seconds = seconds
        self._answer = answer
        self._waiting: dict[Exchange, asyncio.TimerHandle] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def hold(self, exchange: Exchange) -> None:
        """Until it is released, or its time is over."""
        exchange.on_gone = lambda: self._waiting.pop(exchange).cancel()
        self._waiting[exchange] = self._loop.call_later(self._seconds, self._release, exchange)

    def release(self, answer: Response | None = None) -> None:
        """Answers all, by this where it is given."""
        for exchange in list(self._waiting):
            self._release(exchange, answer)

    def _release(self, exchange: Exchange, answer: Response | None = None) -> None:
        self._waiting.pop(exchange).cancel()
        exchange.reply(answer or self._answer())


class Routes:
    """A handler that answers by method and path."""

    def __init__(self, routes: dict[tuple[bytes, str], Route]) -> None:
        self._routes = routes

    def __call__(self, exchange: Exchange) -> None:
        """Answers one exchange."""
        method, wanted = exchange.head.method, exchange.head.path
        # The connection leaves the body of an answer to HEAD away.
        route = self._routes.get((b"GET" if method == b"HEAD" else method, wanted))
        allowed = [known for known, path in self._routes if path == wanted]
        if route is not None:
            route(exchange)
        elif allowed:
            allow = b", ".join([*allowed, b"HEAD"] if b"GET" in allowed else allowed)
            exchange.reply(Response(405, [b"method not allowed\n"], TEXT, [(b"allow", allow)]))
        else:
            paths = ", ".join(sorted(path for _, path in self._routes))
            exchange.reply(Response(404, [f"not here; there are {paths}\n".encode()], TEXT))


class AdminApi(Routes):
    """The handler of the admin port, which changes nothing.

    Args:
        service: what is shown.
    """

    def __init__(self, service: Service) -> None:
        self._service = service
        self._loading = Held(HOLD_S, self._readiness)
        self._quiet = Held(ATTENTION_S, self._queue)
        service.on_state = self._state_changed
        super().__init__(
            {
                (b"GET", "/livez"): self._live,
                (b"GET", "/readyz"): self._ready,
                (b"GET", REPORT_PATH): self._report,
                (b"GET", ATTENTION_PATH): self._attention,
                (b"GET", "/metrics"): self._metrics,
            }
        )

    def _live(self, exchange: Exchange) -> None:
        # That the loop came round to answer is all that liveness means: it must not depend on load or model.
        exchange.reply(Response(200, [b"alive\n"], TEXT))

    def _ready(self, exchange: Exchange) -> None:
        # A kubelet that asked just before would hear of it a period later: of a start of a second, half on average.
        if self._service.state == "Loading":
            self._loading.hold(exchange)
        else:
            exchange.reply(self._readiness())

    def _readiness(self) -> Response:
        service = self._service
        if service.ready:
            return Response(200, [b"ready\n"], TEXT)
        text = " ".join(part for part in (service.state, service.reason, service.message) if part)
        return Response(503, [text.encode() + b"\n"], TEXT)

    def _state_changed(self) -> None:
        self._loading.release()
        if self._draining:
            self._quiet.release()

    @property
    def _draining(self) -> bool:
        return self._service.state == "Draining"

    def _report(self, exchange: Exchange) -> None:
        exchange.reply(Response(200, [report.encode(self._service.report())]))

    def _attention(self, exchange: Exchange) -> None:
        # Who asks need not ask often, and hears of a crowd as soon as requests have to wait for long.
        # Nor is the end of a process kept waiting for its questions.
        if self._is_long() or self._draining:
            exchange.reply(self._queue())
        else:
            self._quiet.hold(exchange)
            self._service.on_long_queue = self._call

    def _call(self) -> None:
        # Not by another look at the queue: a worker may have taken one of it, and what was refused is not in it.
        self._service.on_long_queue = None
        self._quiet.release(Response(200, [LONG], TEXT))

    def _queue(self) -> Response:
        if not self._quiet:
            self._service.on_long_queue = None
        return Response(200, [LONG if self._is_long() else b"quiet\n"], TEXT)

    def _is_long(self) -> bool:
        return self._service.is_long(self._service.gauges().wait_seconds)

    def _metrics(self, exchange: Exchange) -> None:
        # At the first scrape, not at the start: the library takes 50 ms of CPU to import.
        from corefit_runtime.telemetry import metrics  # noqa: PLC0415

        exchange.reply(Response(200, [metrics.render(self._service)], METRICS_TYPE))
