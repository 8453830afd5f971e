"""Load, watching and the live view side by side: the part of the demo in which time matters."""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from contextlib import aclosing, suppress
from pathlib import Path
from typing import Any

from corefit.demo import stage
from corefit.demo.predictions import known_rows, load_requests
from corefit.demo.settings import NAMESPACE, SERVICE
from corefit.demo.timeline import Timeline, point, view_of
from corefit.demo.tools import Tools
from corefit.demo.view import Console, LiveView
from corefit.load import Recorder, Step, intended_times, run
from corefit.load.schedule import duration_s, rate_at
from corefit_core import naming
from corefit_core.errors import CorefitError
from corefit_core.report import Report, decode

TICK_S = 1.0
"""Seconds between points: the finest that a person follows, and the grain of the picture."""


class Measurement:
    """One run of the load, and what was seen meanwhile.

    Args:
        root: the checkout, where the rows to send are.
        steps: the load.
        settled_s: the last step ends once replicas have fallen and stayed for so long; None: it lasts as it says.

    Attributes:
        timeline: what the resource's status said, second by second.
        recorder: what became of each request.
    """

    def __init__(self, root: Path, steps: Sequence[Step], settled_s: float | None, console: Console) -> None:
        self._root = root
        self._steps = steps
        self._settled_s = settled_s
        self._console = console
        self.timeline = Timeline()
        self.recorder = Recorder()

    @property
    def peak_from_s(self) -> float:
        """When the second step begins."""
        return duration_s(self._steps[:1])

    @property
    def back_from_s(self) -> float:
        """When the last step begins."""
        return duration_s(self._steps[:-1])

    async def run(self, tools: Tools) -> None:
        """Load, watch and view side by side until the load has ended."""
        requests = load_requests(known_rows(self._root / "examples" / SERVICE / "rows.json"))
        start = asyncio.get_running_loop().time()
        with self._console.live() as live:
            self.timeline.see(view_of(resource(tools)), 0.0)
            watching = [
                asyncio.create_task(self._watch(tools, live, start)),
                asyncio.create_task(self._tick(live, start)),
            ]
            loading = asyncio.create_task(
                run(
                    stage.url_of(tools, SERVICE),
                    requests,
                    self._times(),
                    recorder=self.recorder,
                    start=start,
                )
            )
            await _first_of(loading, watching)

    def _times(self) -> Iterator[float]:
        """When requests are sent; the last step ends once replicas have fallen, which the verdict waits for."""
        for at_s in intended_times(self._steps):
            if self._settled_s is not None and self.timeline.has_fallen(self.back_from_s, self._settled_s):
                return
            yield at_s

    async def _watch(self, tools: Tools, live: LiveView, start: float) -> None:
        command = (
            "kubectl",
            "get",
            "inferenceservice",
            SERVICE,
            "--namespace",
            NAMESPACE,
            "--watch",
            "--output",
            "json",
        )
        async with aclosing(tools.stream(*command)) as seen:
            async for state in seen:
                made = self.timeline.see(view_of(state), asyncio.get_running_loop().time() - start)
                if made is not None:
                    live.decision(made)

    async def _tick(self, live: LiveView, start: float) -> None:
        loop = asyncio.get_running_loop()
        count = 0
        while True:
            at_s = loop.time() - start
            now = point(at_s, rate_at(self._steps, at_s), self.recorder, self.timeline.service)
            if at_s <= duration_s(self._steps):
                self.timeline.points.append(now)
            live.point(now)
            count += 1
            await asyncio.sleep(max(0.0, start + count * TICK_S - loop.time()))


def resource(tools: Tools) -> dict[str, Any]:
    """The resource that the load goes to, as the API server has it."""
    found: dict[str, Any] = tools.json(
        "kubectl", "get", "inferenceservice", SERVICE, "--namespace", NAMESPACE, "--output", "json"
    )
    return found


def reports_of(tools: Tools) -> dict[str, Report]:
    """The report of each pod now, by boot id: what the operator reads too."""
    label = f"{naming.LABEL_SERVICE}={naming.label_value(SERVICE)}"
    pods = tools.run("kubectl", "get", "pods", "--namespace", NAMESPACE, "--selector", label, "--output", "name")
    seen = {}
    for name in pods.split():
        path = f"/api/v1/namespaces/{NAMESPACE}/pods/{name.removeprefix('pod/')}:{naming.PORT_ADMIN}/proxy/report"
        with suppress(CorefitError):  # a pod may end between the two commands
            report = decode(tools.run("kubectl", "get", "--raw", path, quiet=True).encode())
            seen[report.boot_id] = report
    return seen


def cpu_a_request(before: Mapping[str, Report], after: Mapping[str, Report]) -> float:
    """CPU seconds a request of the pods that were there all the time."""
    pairs = [(before[boot].counters, after[boot].counters) for boot in before if boot in after]
    answered = sum(b.completed - a.completed for a, b in pairs)
    return sum(b.cpu_seconds - a.cpu_seconds for a, b in pairs) / answered if answered else 0.0


async def _first_of(main: "asyncio.Task[None]", beside: "list[asyncio.Task[None]]") -> None:
    """Until `main` has ended; the others never end by themselves, so one that does has failed."""
    tasks = [main, *beside]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
