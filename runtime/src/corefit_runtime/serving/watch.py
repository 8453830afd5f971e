"""Follows changes while the model serves: plans anew for another grant of CPU, reloads a model file that has changed.

Both are compared with what is in force, not with what was seen last: a change that came while a model was loaded, or
that could not be followed, is still one at the next look.
"""

import asyncio
import logging
import math
from collections.abc import Callable
from typing import Final

from corefit_core.sizing import Grant
from corefit_runtime.concurrency.backoff import delays
from corefit_runtime.models import store
from corefit_runtime.serving.lifecycle import ModelLifecycle
from corefit_runtime.telemetry import failures
from corefit_runtime.telemetry.cpu import CpuMeter
from corefit_runtime.telemetry.meter import Meter

log: Final = logging.getLogger(__name__)
POLL_S: Final = 0.1
"""The kernel tells nobody of a changed quota; a resize reaches the cgroup within 0.1 s, and a look costs 10 us."""
LOOKS_A_SECOND: Final = 10
"""What changes more slowly, or is to be counted over a second, is looked at each tenth time."""


class Watch:
    """See the module.

    Args:
        lifecycle: holds what is in force.
        grant: finds what is granted now.
        model: where its file is, where that is to be followed; empty: it isn't.
        meter: counts how late the event loop is.
        cpu: counts from look to look.
    """

    def __init__(
        self, lifecycle: ModelLifecycle, grant: Callable[[], Grant], *, model: str, meter: Meter, cpu: CpuMeter
    ) -> None:
        self._lifecycle = lifecycle
        self._model = model
        self._meter = meter
        self._cpu = cpu
        self._grant = grant
        self._refused: Grant | None = None
        self._delays = delays()
        self._again_s = -math.inf
        self._measuring: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Looks until it is cancelled."""
        loop, looks = asyncio.get_running_loop(), 0
        while True:
            due = loop.time() + POLL_S
            await asyncio.sleep(POLL_S)
            self._meter.loop_lag.observe(max(0.0, loop.time() - due))
            await self.look_at_grant(loop.time())
            looks += 1
            if looks % LOOKS_A_SECOND == 0:
                self._cpu.look()
                await self.look_at_model()
                await self._learn()

    async def look_at_grant(self, now: float) -> None:
        """Fits the plan to the grant if they differ; what failed is tried again, ever more rarely."""
        found, planned = self._grant(), self._lifecycle.grant
        if found == planned:
            if self._refused is not None:
                self._refused = None
                self._lifecycle.plan_fits()
        elif found != self._refused:
            log.info(
                "the CPU that this container may use has changed from %dm to %dm",
                planned.millicores if planned else 0,
                found.millicores,
            )
            self._delays = delays()
            await self._follow(found, now)
        elif now >= self._again_s:
            await self._follow(found, now)

    async def look_at_model(self) -> None:
        """Loads a model anew whose file is another than the one that was tried last."""
        if self._model and store.stamp(self._model) != self._lifecycle.stamp:
            await self._lifecycle.reload()

    async def _learn(self) -> None:
        try:
            await self._lifecycle.learn()
        except Exception as error:  # noqa: BLE001 - the plan in force goes on, and so does the watch
            failures.warned(log, "the plan does not follow what requests took", error)

    async def measured(self) -> None:
        """Returns when no measurement is under way."""
        if self._measuring is not None:
            await self._measuring

    async def _follow(self, found: Grant, now: float) -> None:
        if not await self._lifecycle.regrant(found):
            self._refused, self._again_s = found, now + next(self._delays)
            return
        self._refused = None
        if self._measuring is None or self._measuring.done():
            self._measuring = asyncio.create_task(self._measure())

    async def _measure(self) -> None:
        try:
            await self._lifecycle.measure_threads()
        except Exception as error:  # noqa: BLE001 - as above
            failures.warned(log, "more threads were not measured", error)
