"""The admin port: liveness, readiness, report, metrics. Never touches the model, never waits for the pool."""

import asyncio
from collections.abc import Callable
from typing import Final

from corefit_core import report
from corefit_runtime.http_exchange import Exchange
from corefit_runtime.http_messages import TEXT, Response
from corefit_runtime.service import Service

Route = Callable[[Exchange], None]
METRICS_TYPE: Final = b"text/plain; version=1.0.0; charset=utf-8"
HOLD_S: Final = 1.0
"""Seconds for which the question whether a loading process is ready waits for the answer to be yes: the period of the
kubelet's probes, so that the next one is due when this one ends, and half of their timeout."""


class AdminApi:
    """The handler of the admin port.

    Args:
        service: what is shown.
        more: further routes (debugging, reload) by method and path.
    """

    def __init__(self, service: Service, more: dict[tuple[bytes, str], Route] | None = None) -> None:
        self._service = service
        self._loop = asyncio.get_running_loop()
        self._held: dict[Exchange, asyncio.TimerHandle] = {}
        service.on_state = self._answer_held
        self._routes: dict[tuple[bytes, str], Route] = {
            (b"GET", "/livez"): self._live,
            (b"GET", "/readyz"): self._ready,
            (b"GET", "/report"): self._report,
            (b"GET", "/metrics"): self._metrics,
            **(more or {}),
        }

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

    def _live(self, exchange: Exchange) -> None:
        # That the loop came round to answer is all that liveness means: it must not depend on load or model.
        exchange.reply(Response(200, [b"alive\n"], TEXT))

    def _ready(self, exchange: Exchange) -> None:
        # A kubelet that asked just before would hear of it a period later: of a start of a second, half on average.
        if self._service.state == "Loading":
            exchange.on_gone = lambda: self._held.pop(exchange).cancel()
            self._held[exchange] = self._loop.call_later(HOLD_S, self._answer, exchange)
        else:
            exchange.reply(self._readiness())

    def _answer_held(self) -> None:
        for exchange in list(self._held):
            self._answer(exchange)

    def _answer(self, exchange: Exchange) -> None:
        self._held.pop(exchange).cancel()
        exchange.reply(self._readiness())

    def _readiness(self) -> Response:
        service = self._service
        if service.ready:
            return Response(200, [b"ready\n"], TEXT)
        text = " ".join(part for part in (service.state, service.reason, service.message) if part)
        return Response(503, [text.encode() + b"\n"], TEXT)

    def _report(self, exchange: Exchange) -> None:
        exchange.reply(Response(200, [report.encode(self._service.report())]))

    def _metrics(self, exchange: Exchange) -> None:
        # At the first scrape, not at the start: the library takes 50 ms of CPU to import.
        from corefit_runtime import metrics  # noqa: PLC0415

        exchange.reply(Response(200, [metrics.render(self._service)], METRICS_TYPE))
