"""The process from start to end: ports, signals, loading with retries, the drain.

The composition root: everything is made here and handed to what uses it. numpy and onnxruntime are imported in a
thread after the admin port is up, so that a pod on a tenth of a core answers its probes while they load.
"""

import asyncio
import logging
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Final

from corefit_core.batching import Line
from corefit_core.errors import ConfigError, ModelUnavailable
from corefit_core.sizing import Grant
from corefit_runtime.admin.endpoints import AdminApi, Routes
from corefit_runtime.concurrency.backoff import delays
from corefit_runtime.concurrency.coalescing import Coalescing
from corefit_runtime.grant import cgroups
from corefit_runtime.grant.cgroups import Cgroup
from corefit_runtime.http.messages import TEXT, HttpLimits, Response, error_body
from corefit_runtime.http.server import Server
from corefit_runtime.process import logs
from corefit_runtime.settings.settings import Settings
from corefit_runtime.telemetry import failures
from corefit_runtime.telemetry.meter import Meter
from corefit_runtime.telemetry.service import Service

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from corefit_runtime.http.exchange import Exchange
    from corefit_runtime.rest.api import InferenceApi
    from corefit_runtime.serving.lifecycle import Serving

log: Final = logging.getLogger(__name__)
ADMIN_GRACE_S: Final = 0.5
"""For an answer that is on its way; a profile that is being taken is not waited for."""


ADMIN_CONNECTIONS: Final = 256
"""Open connections to the admin port. The serving port may have as many as --max-connections."""
ADMIN_BODY: Final = 65536


class App:
    """One run of the program."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        self._service = Service(settings, Cgroup.of_process(), Meter())
        self._admin: Server | None = None
        self._control: Server | None = None
        self._reloading = Coalescing(self._reloaded)
        self._http: Server | None = None
        self._serving: Serving | None = None
        self._tasks: set[asyncio.Future[None]] = set()

    async def run(self) -> None:
        """Serves until SIGTERM or SIGINT, then drains."""
        for number in (signal.SIGTERM, signal.SIGINT):
            self._loop.add_signal_handler(number, self._on_signal, number)
        await self._start_admin()
        main = asyncio.create_task(self._serve())
        stopped = asyncio.create_task(self._stop.wait())
        await asyncio.wait({main, stopped}, return_when=asyncio.FIRST_COMPLETED)
        if main.done():
            main.result()
        await self._drain()
        main.cancel()
        await asyncio.gather(main, return_exceptions=True)
        for server in (self._admin, self._control):
            if server is not None:
                await server.close(ADMIN_GRACE_S)

    async def _start_admin(self) -> None:
        """Opens the ports that are there before the model: what others ask, and what changes something.

        What changes something, or costs much, is on a port of its own that other pods don't reach.
        """
        settings, limits = self._settings, _admin_limits(self._settings)
        self._admin = Server(AdminApi(self._service), limits, error_body=error_body, refuses_nobody=True)
        port = await self._admin.start(settings.admin_host or settings.host, settings.admin_port)
        log.info("admin port %d", port)
        routes = Routes({(b"POST", "/reload"): self._reload, **self._debug_routes()})
        self._control = Server(routes, limits, error_body=error_body, refuses_nobody=True)
        log.info("control port %d", await self._open_control(self._control))

    async def _open_control(self, server: Server) -> int:
        """Opens the first of the control ports that is free, and returns it."""
        host, ports = self._settings.control_host, self._settings.control_ports
        for port in ports[:-1]:
            try:
                return await server.start(host, port)
            except OSError as error:
                log.warning("control port %d can't be opened (%s): a free one is taken", port, error.strerror or error)
        try:
            return await server.start(host, ports[-1])
        except OSError as error:
            where = f"--control-port {ports[-1]} of {host}"
            raise ConfigError(f"{where} can't be opened: {error.strerror or error}") from error

    def _on_signal(self, number: int) -> None:
        if self._stop.is_set():
            log.warning("a second signal: out at once")
            os._exit(128 + number)
        log.info("signal %d: draining", number)
        self._service.became_draining()
        self._stop.set()

    async def _serve(self) -> None:
        """Loads the model, then keeps its plan fitting."""
        if self._service.cgroup.unknown and self._settings.cpus is None:
            log.warning("all CPUs of the node may be used: %s", self._service.cgroup.unknown)
        await asyncio.to_thread(_import_heavy)
        self._compose()
        http = self._http
        assert http is not None  # noqa: S101 - `_compose` has just made it
        if self._settings.socket:
            await http.start_unix(Path(self._settings.socket))
            log.info("inference socket %s", self._settings.socket)
        port = await http.start(self._settings.host, self._settings.port)
        log.info("inference port %d", port)
        await self._load()
        await self._watch()

    def _compose(self) -> None:
        from corefit_runtime.concurrency.offload import Offload  # noqa: PLC0415
        from corefit_runtime.engine import onnxruntime  # noqa: PLC0415 - after the admin port is up
        from corefit_runtime.memory.buffers import Rooms  # noqa: PLC0415
        from corefit_runtime.pool.limits import Limits  # noqa: PLC0415
        from corefit_runtime.pool.pool import Pool  # noqa: PLC0415
        from corefit_runtime.rest.api import InferenceApi  # noqa: PLC0415
        from corefit_runtime.rest.headers import HEADER_LENGTH  # noqa: PLC0415
        from corefit_runtime.serving.lifecycle import Serving  # noqa: PLC0415

        settings, service = self._settings, self._service
        onnxruntime.quiet(logs.from_onnxruntime)
        nothing = Limits(workers=1, depth=1, objective_s=1, line=Line(a=1, b=1), chunk=0, batch=0)
        pool = Pool(self._loop, service.meter, nothing, delay_s=settings.batch_delay_ms / 1000)
        pool.on_queued = service.queued
        service.pool = pool
        self._serving = Serving(service, pool)
        api = InferenceApi(service, pool, Offload(self._loop))
        http = self._http = Server(
            api,
            _limits(settings),
            error_body=error_body,
            allocate=Rooms(),
            align_header=HEADER_LENGTH,
            refused=service.meter.refused,
            refusal=api.refusal,
            access=logs.access if settings.access_log else None,
        )
        self._serving.on_loaded = lambda: _bound_memory(settings, self._service, http, api)

    async def _load(self) -> None:
        """Until it works: a model that can't be served is reported and tried again, not crashed on."""
        assert self._serving is not None  # noqa: S101 - `_compose` has made it
        for delay in delays():
            try:
                await self._serving.load(self._grant())
            except Exception as error:  # noqa: BLE001 - a pod that says why tells more than one that restarts
                consequence = f"the model is not served, next try in {delay:.0f} s"
                self._service.became_failed(*failures.warned(log, consequence, error))
                await asyncio.sleep(delay)
            else:
                log.info("ready after %.2f s", self._service.startup_s)
                return

    async def _watch(self) -> None:
        from corefit_runtime.serving.watch import Watch  # noqa: PLC0415 - as in `_compose`

        assert self._serving is not None  # noqa: S101 - `_compose` has made it
        await Watch(self._service, self._serving, self._grant).run()

    def _grant(self) -> Grant:
        return cgroups.current(self._service.cgroup, self._settings.cpus)

    def _debug_routes(self) -> "dict[tuple[bytes, str], Callable[[Exchange], None]]":
        if not self._settings.debug:
            return {}
        from corefit_runtime.admin import debug  # noqa: PLC0415 - only where it is switched on

        return debug.routes(self._service, self._background, self._trace)

    async def _trace(self, seconds: float) -> bytes:
        if self._serving is None:
            raise ModelUnavailable("the runtime is still starting")
        return await self._serving.trace(seconds)

    def _reload(self, exchange: "Exchange") -> None:
        """POST /reload on the control port: answers when the new model serves, or with why it doesn't."""
        self._background(exchange, self._answer_reload(exchange))

    async def _answer_reload(self, exchange: "Exchange") -> None:
        wrong = await self._reloading.result()
        exchange.reply(Response(500 if wrong else 200, [(wrong or "reloaded").encode() + b"\n"], TEXT))

    async def _reloaded(self) -> str:
        return await self._serving.reload() if self._serving else "the runtime is still starting"

    def _background(self, exchange: "Exchange", work: "Awaitable[None]") -> None:
        # The loop keeps weak references to tasks only.
        task = asyncio.ensure_future(_answered(exchange, work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _drain(self) -> None:
        """Takes requests for the drain delay, finishes what is held, within the grace period."""
        settings, http = self._settings, self._http
        if http is None:
            return
        http.drain()
        if self._service.model is not None:  # Else nothing was ever sent here, nor answered.
            await asyncio.sleep(settings.drain_seconds)
        cut = await http.close(settings.grace_seconds - settings.drain_seconds)
        if cut:
            log.warning("%d connections were cut: not finished in %.0f s", cut, settings.grace_seconds)
        log.info("drained")


async def _answered(exchange: "Exchange", work: "Awaitable[None]") -> None:
    """Answers for what fails before it has: nobody else would, and its client would wait for ever."""
    try:
        await work
    except Exception as error:  # noqa: BLE001 - whatever it is
        _, message = failures.warned(log, "a request to the control port failed", error)
        exchange.reply(Response(500, [message.encode() + b"\n"], TEXT))


def _import_heavy() -> None:
    """Numpy and onnxruntime: 0.3 s of CPU."""
    import corefit_runtime.serving.lifecycle  # noqa: F401, PLC0415


def _bound_memory(settings: Settings, service: Service, http: Server, api: "InferenceApi") -> None:
    """Bodies and answers hold no more than their share of what the model has left of the container's memory."""
    most, model = settings.max_body_memory, service.model
    if model is not None and model.engine.shares is not None:
        most = min(most, model.engine.shares.bodies)
        log.info("runs of the model may allocate %d MiB", model.engine.shares.runs >> 20)
    http.memory.limit = most
    api.bound_memory(most)
    log.info("bodies and unsent answers may hold %d MiB", most >> 20)


def _admin_limits(settings: Settings) -> HttpLimits:
    """Room for the questions of a kubelet, an operator and a few scrapers; their requests have no bodies."""
    return HttpLimits(
        max_body=ADMIN_BODY,
        max_body_memory=16 * ADMIN_BODY,
        max_header=settings.max_header,
        max_connections=min(ADMIN_CONNECTIONS, settings.max_connections),
        header_timeout_s=settings.header_timeout,
        body_timeout_s=settings.body_timeout,
        idle_timeout_s=settings.idle_timeout,
    )


def _limits(settings: Settings) -> HttpLimits:
    return HttpLimits(
        max_body=settings.max_body,
        max_body_memory=settings.max_body_memory,
        max_header=settings.max_header,
        max_connections=settings.max_connections,
        header_timeout_s=settings.header_timeout,
        body_timeout_s=settings.body_timeout,
        idle_timeout_s=settings.idle_timeout,
        connection_age_s=settings.connection_age,
    )
