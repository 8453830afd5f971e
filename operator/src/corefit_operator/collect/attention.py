"""Long polling of pods that may be grown: the operator looks at once at one whose queue has become long.

A round of a second is most of what a crowd waits for where a resize takes a tenth of that; rounds of less would ask all
pods for what a few have to say, and hear too few requests to tell a step from chance. May not decide anything.
"""

import asyncio
import logging
import math
from collections.abc import Callable, Sequence
from typing import Final

from aiohttp import ClientError

from corefit_core.errors import CorefitError
from corefit_core.report import LONG
from corefit_operator.cache.view import Key
from corefit_operator.collect.collector import Fetch
from corefit_operator.kube.api_error import ApiError
from corefit_operator.kube.pods import Pod

LOG: Final = logging.getLogger(__name__)
SPACED_S: Final = 0.55
"""Seconds between two looks at a pod: reports less than half a round apart are counted as one (`load.LEAST_ROUND`)."""
RETRY_S: Final = 10.0
"""Seconds after which a pod is asked again that could not be, or that runs an image from before there was a question:
its rounds go on."""
DEADLINE_S: Final = 8.0
"""Seconds after which an answer is not waited for any more: a pod holds the question for five."""


class Attention:
    """Asks the pods, one held request each.

    Args:
        fetch: how a pod is asked.
        look: has a resource looked at in so many seconds, unless it is earlier.
        called: counts each call, for the metrics.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        fetch: Fetch,
        look: Callable[[Key, float], None],
        called: Callable[[Key], None],
        clock: Callable[[], float],
    ) -> None:
        self._fetch = fetch
        self._look = look
        self._called = called
        self._clock = clock
        self._heard: set[Key] = set()
        self._looked: dict[Key, float] = {}
        self._asking: dict[Key, dict[tuple[str, str], asyncio.Task[None]]] = {}

    async def run(self) -> None:
        """Until it is cancelled, and with it all requests."""
        try:
            await asyncio.Event().wait()
        finally:
            for key in list(self._asking):
                self.forget(key)

    def pause(self, key: Key) -> None:
        """A look at the resource has begun, which sees for itself what its pods say until `watch`.

        One that fails never comes to that: it is tried again when the API server can take it, not when pods call.
        """
        self._heard.discard(key)

    def watch(self, key: Key, pods: Sequence[Pod], looked_at: float) -> None:
        """From now on these pods of the resource, which were looked at then, are asked, and no others."""
        self._heard.add(key)
        # One sooner than that has left what it saw for the next to count, and puts that off no further.
        if looked_at - self._looked.get(key, -math.inf) >= SPACED_S:
            self._looked[key] = looked_at
        # By address as well: a pod whose sandbox was made anew is the same one elsewhere.
        asking, wanted = self._asking.setdefault(key, {}), {(pod.metadata.uid, pod.status.pod_ip): pod for pod in pods}
        for one in asking.keys() - wanted.keys():
            asking.pop(one).cancel()
        for one in wanted.keys() - asking.keys():
            asking[one] = asyncio.create_task(self._ask(key, wanted[one]))

    def forget(self, key: Key) -> None:
        """None of its pods is asked any more."""
        self._heard.discard(key)
        self._looked.pop(key, None)
        for task in self._asking.pop(key, {}).values():
            task.cancel()

    async def _ask(self, key: Key, pod: Pod) -> None:
        while True:
            asked_at = self._clock()
            try:
                async with asyncio.timeout(DEADLINE_S):
                    is_long = await self._fetch(pod) == LONG
            except Exception as error:  # a fault of ours included: nobody would ask this pod again
                if not isinstance(error, (TimeoutError, ApiError, ClientError, OSError, CorefitError)):
                    LOG.exception("%s: a fault in the operator", key)
                await asyncio.sleep(RETRY_S)
                continue
            if is_long:
                self._call(key)
            # Nor in a circle, should a pod not hold the question.
            await asyncio.sleep(max(0.0, asked_at + SPACED_S - self._clock()))

    def _call(self, key: Key) -> None:
        if key in self._heard:
            self._called(key)
            self._look(key, max(0.0, self._looked[key] + SPACED_S - self._clock()))
