"""The process from start to end: ports, signals, loading with retries, the drain.

The composition root: everything is made here and handed to what uses it. numpy and onnxruntime are imported in a
thread after the admin port is up, so that a pod on a tenth of a core answers its probes while they load.
"""

import asyncio
import importlib
import logging
import os
import signal
from typing import TYPE_CHECKING, Final

from corefit_core.sizing import Grant
from corefit_runtime.admin.control import ControlApi
from corefit_runtime.admin.endpoints import AdminApi
from corefit_runtime.admin.report import Reporter
from corefit_runtime.concurrency.backoff import delays
from corefit_runtime.grant import cgroups
from corefit_runtime.grant.cgroups import Cgroup
from corefit_runtime.http.messages import error_body
from corefit_runtime.http.server import Server
from corefit_runtime.process import ports
from corefit_runtime.process.agent import Agent
from corefit_runtime.serving.readiness import Readiness
from corefit_runtime.serving.servable import Published
from corefit_runtime.settings.settings import Settings
from corefit_runtime.telemetry import failures
from corefit_runtime.telemetry.attention import Attention
from corefit_runtime.telemetry.cpu import CpuMeter
from corefit_runtime.telemetry.meter import Meter

if TYPE_CHECKING:
    from corefit_runtime.process.inference import Inference
    from corefit_runtime.serving.lifecycle import ModelLifecycle

log: Final = logging.getLogger(__name__)
ADMIN_GRACE_S: Final = 0.5
"""For an answer that is on its way; a profile that is being taken is not waited for."""


class App:
    """One run of the program."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        self._cgroup = Cgroup.of_process()
        self._meter = Meter()
        self._cpu = CpuMeter(self._cgroup, settings.cpu_request_millicores)
        self._readiness = Readiness()
        self._published = Published()
        self._attention = Attention(settings.objective_s)
        self._reporter = Reporter(settings, self._readiness, self._published, self._meter, self._cpu)
        self._agent = Agent(self._granted_millicores, settings.agent_full_millicores)
        self._inference: Inference | None = None

    async def run(self) -> None:
        """Serves until SIGTERM or SIGINT, then drains."""
        for number in (signal.SIGTERM, signal.SIGINT):
            self._loop.add_signal_handler(number, self._on_signal, number)
        first = await self.open_first_ports()
        await ports.open_agent(self._agent, self._settings)
        main = asyncio.create_task(self._serve())
        stopped = asyncio.create_task(self._stop.wait())
        await asyncio.wait({main, stopped}, return_when=asyncio.FIRST_COMPLETED)
        if main.done():
            main.result()
        await self._drain()
        main.cancel()
        await asyncio.gather(main, return_exceptions=True)
        self._agent.close()
        for server in first:
            await server.close(ADMIN_GRACE_S)

    async def open_first_ports(self) -> tuple[Server, Server]:
        """Opens what is there before the model: what others ask, and, on a port of its own, what changes something."""
        limits = ports.admin_limits(self._settings)
        shown = AdminApi(self._readiness, self._reporter, self._attention)
        changed = ControlApi(self._lifecycle, self._cpu, debug=self._settings.debug)
        admin, control = (
            Server(handler, limits, error_body=error_body, refuses_nobody=True) for handler in (shown, changed)
        )
        await ports.open_admin(admin, self._settings)
        await ports.open_control(control, self._settings)
        return admin, control

    def _on_signal(self, number: int) -> None:
        if self._stop.is_set():
            log.warning("a second signal came: the process exits at once")
            os._exit(128 + number)
        log.info("signal %d came: the process finishes its requests and exits", number)
        self._readiness.became_draining()
        self._stop.set()

    async def _serve(self) -> None:
        """Loads the model, then keeps its plan fitting."""
        doubt = self._cgroup.unknown if self._settings.cpus is None else ""
        if doubt:
            log.warning("all CPUs of the node may be used: %s", doubt)
        await asyncio.to_thread(importlib.import_module, "corefit_runtime.process.inference")
        inference = self._compose(doubt)
        await ports.open_inference(inference.server, self._settings)
        await self._load(inference.lifecycle)
        await self._watch(inference.lifecycle)

    def _compose(self, doubt: str) -> "Inference":
        from corefit_runtime.process.inference import Inference  # noqa: PLC0415 - after the admin port is up

        inference = self._inference = Inference(
            self._settings, self._published, self._readiness, self._meter, self._attention, doubt=doubt
        )
        self._reporter.observe(inference.pool)
        return inference

    async def _load(self, lifecycle: "ModelLifecycle") -> None:
        """Until it works: a model that can't be served is reported and tried again, not crashed on."""
        for delay in delays():
            try:
                await lifecycle.load(self._grant())
            except Exception as error:  # noqa: BLE001 - a pod that says why tells more than one that restarts
                consequence = f"the model is not served, next try in {delay:.0f} s"
                self._readiness.became_failed(*failures.warned(log, consequence, error))
                await asyncio.sleep(delay)
            else:
                log.info("ready after %.2f s", self._readiness.startup_s)
                return

    async def _watch(self, lifecycle: "ModelLifecycle") -> None:
        from corefit_runtime.serving.watch import Watch  # noqa: PLC0415 - as in `_compose`

        model = self._settings.model if self._settings.watch_model else ""
        await Watch(lifecycle, self._grant, model=model, meter=self._meter, cpu=self._cpu).run()

    def _grant(self) -> Grant:
        return cgroups.current(self._cgroup, self._settings.cpus)

    def _granted_millicores(self) -> int:
        servable = self._published.servable
        return servable.plan.grant_millicores if servable is not None else 0

    def _lifecycle(self) -> "ModelLifecycle | None":
        return self._inference.lifecycle if self._inference is not None else None

    async def _drain(self) -> None:
        """Takes requests for the drain delay, finishes what is held, within the grace period."""
        settings = self._settings
        if self._inference is None:
            return
        http = self._inference.server
        http.drain()
        if self._published.servable is not None:  # Else nothing was ever sent here, nor answered.
            await asyncio.sleep(settings.drain_seconds)
        cut = await http.close(settings.grace_seconds - settings.drain_seconds)
        if cut:
            log.warning("closed %d connections whose requests did not end within %.0f s", cut, settings.grace_seconds)
        log.info("all requests have ended")
