"""Keeps what is served fitting while it serves: the plan to the grant, and the model to its file where that is wanted.

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
from corefit_runtime.serving.lifecycle import Serving
from corefit_runtime.telemetry import failures
from corefit_runtime.telemetry.service import Service

log: Final = logging.getLogger(__name__)
POLL_S: Final = 0.1
"""The kernel tells nobody of a changed quota; a resize reaches the cgroup within 0.1 s, and a look costs 10 us."""
LOOKS_A_SECOND: Final = 10
"""What changes more slowly, or is to be counted over a second, is looked at each tenth time."""


class Watch:
    """See the module.

    Args:
        service: told what could not be followed.
        serving: holds what is in force.
        grant: finds what is granted now.
    """

    def __init__(self, service: Service, serving: Serving, grant: Callable[[], Grant]) -> None:
        self._service = service
        self._serving = serving
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
            self._service.meter.loop_lag.observe(max(0.0, loop.time() - due))
            await self.look_at_grant(loop.time())
            looks += 1
            if looks % LOOKS_A_SECOND == 0:
                self._service.look_at_cpu()
                await self.look_at_model()
                await self._learn()

    async def look_at_grant(self, now: float) -> None:
        """Fits the plan to the grant if they differ; what failed is tried again, ever more rarely."""
        found, planned = self._grant(), self._serving.grant
        if found == planned:
            if self._refused is not None:
                self._followed()
        elif found != self._refused:
            log.info("the grant changed: %dm to %dm", planned.millicores if planned else 0, found.millicores)
            self._delays = delays()
            await self._follow(found, now)
        elif now >= self._again_s:
            await self._follow(found, now)

    async def look_at_model(self) -> None:
        """Loads a model anew whose file is another than the one that was tried last."""
        settings = self._service.settings
        if settings.watch_model and store.stamp(settings.model) != self._serving.stamp:
            await self._serving.reload()

    async def _learn(self) -> None:
        try:
            await self._serving.learn()
        except Exception as error:  # noqa: BLE001 - the plan in force goes on, and so does the watch
            failures.warned(log, "the plan does not follow what requests took", error)

    async def measured(self) -> None:
        """Returns when no measurement is under way."""
        if self._measuring is not None:
            await self._measuring

    async def _follow(self, found: Grant, now: float) -> None:
        try:
            await self._serving.regrant(found)
        except Exception as error:  # noqa: BLE001 - the plan in force goes on, and so does the watch
            _, self._service.notes["plan"] = failures.warned(log, "the plan stays as it is", error)
            self._refused, self._again_s = found, now + next(self._delays)
            return
        self._followed()
        if self._measuring is None or self._measuring.done():
            self._measuring = asyncio.create_task(self._measure())

    def _followed(self) -> None:
        self._refused = None
        self._service.notes.pop("plan", None)

    async def _measure(self) -> None:
        try:
            await self._serving.measure_threads()
        except Exception as error:  # noqa: BLE001 - as above
            failures.warned(log, "more threads were not measured", error)
