"""The composition of the demo: sets up, measures, shows, judges, and takes everything down again."""

import asyncio
from collections.abc import Iterator
from contextlib import aclosing, suppress
from typing import Any

import msgspec

from corefit.demo import picture, stage
from corefit.demo.predictions import check_digits, known_rows, load_requests
from corefit.demo.savings import savings
from corefit.demo.settings import DIGITS, NAMESPACE, SERVICE, Settings
from corefit.demo.timeline import Timeline, point, view_of
from corefit.demo.tools import Tools
from corefit.demo.verdict import verdict
from corefit.demo.view import Console, LiveView
from corefit.load import Recorder, intended_times, run
from corefit.load.schedule import duration_s, rate_at
from corefit_core import naming
from corefit_core import report as reports
from corefit_core.errors import CorefitError
from corefit_core.service import Service, decode

TICK_S = 1.0
"""Seconds between points: the finest that a person follows, and the grain of the picture."""


class Demo:
    """One run."""

    def __init__(self, settings: Settings, console: Console) -> None:
        self._settings = settings
        self._console = console
        self._timeline = Timeline()
        self._recorder = Recorder()

    def run(self) -> int:
        """From nothing to nothing; the cluster goes also when something has failed on the way."""
        tools = stage.environment(self._settings.root)
        try:
            return asyncio.run(self._show(stage.set_up(self._settings, tools, self._console)))
        finally:
            stage.take_down(self._settings, tools, self._console)

    async def _show(self, tools: Tools) -> int:
        with self._console.stage(f"asking {DIGITS} for rows that it never saw"):
            accuracy = await check_digits(stage.url_of(tools, DIGITS), self._known(DIGITS))
        service = decode(_resource(tools))
        before = _cpu(tools)
        with self._console.stage(f"load on {SERVICE}: " + ", ".join(f"{s.rate:g}/s" for s in self._settings.steps)):
            await self._measure(tools)
        load = self._recorder.summary()
        saved = savings(
            self._timeline.points,
            cpu_s_a_request=_cpu_a_request(before, _cpu(tools)),
            pod_cores=service.millicores / 1000,
            bounds=(service.policy.min_replicas, service.policy.max_replicas),
        )
        checks = verdict(accuracy, load, self._timeline.points, self._back_from_s)
        self._console.summary(load, saved, checks)
        self._keep_record(service)
        return 0 if all(check.passed for check in checks) else 1

    @property
    def _back_from_s(self) -> float:
        return duration_s(self._settings.steps[:-1])

    def _known(self, name: str) -> Any:
        return known_rows(self._settings.root / "examples" / name / "rows.json")

    async def _measure(self, tools: Tools) -> None:
        """Load, watch and view side by side until the load has ended."""
        requests = load_requests(self._known(SERVICE))
        start = asyncio.get_running_loop().time()
        with self._console.live() as live:
            self._timeline.see(view_of(_resource(tools)), 0.0)
            watching = [
                asyncio.create_task(self._watch(tools, live, start)),
                asyncio.create_task(self._tick(live, start)),
            ]
            loading = asyncio.create_task(
                run(
                    stage.url_of(tools, SERVICE),
                    requests,
                    self._times(),
                    recorder=self._recorder,
                    start=start,
                )
            )
            await _first_of(loading, watching)

    def _times(self) -> Iterator[float]:
        """When requests are sent; the last step ends once replicas have fallen, which the verdict waits for."""
        for at_s in intended_times(self._settings.steps):
            if self._timeline.has_fallen(self._back_from_s, self._settings.settled_s):
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
            async for resource in seen:
                made = self._timeline.see(view_of(resource), asyncio.get_running_loop().time() - start)
                if made is not None:
                    live.decision(made)

    async def _tick(self, live: LiveView, start: float) -> None:
        loop = asyncio.get_running_loop()
        count = 0
        while True:
            at_s = loop.time() - start
            now = point(at_s, rate_at(self._settings.steps, at_s), self._recorder, self._timeline.service)
            if at_s <= duration_s(self._settings.steps):
                self._timeline.points.append(now)
            live.point(now)
            count += 1
            await asyncio.sleep(max(0.0, start + count * TICK_S - loop.time()))

    def _keep_record(self, service: Service) -> None:
        folder = self._settings.output
        folder.mkdir(parents=True, exist_ok=True)
        objective_s = service.objective.latency_s
        picture.draw(folder / "demo.png", self._timeline.points, self._timeline.decisions, self._recorder, objective_s)
        samples = {
            "points": self._timeline.points,
            "decisions": self._timeline.decisions,
            "samples": list(self._recorder),
        }
        (folder / "demo.json").write_bytes(msgspec.json.encode(samples))
        self._console.say(f"Picture: {folder / 'demo.png'}, all samples: {folder / 'demo.json'}")


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


def _resource(tools: Tools) -> dict[str, Any]:
    found: dict[str, Any] = tools.json(
        "kubectl", "get", "inferenceservice", SERVICE, "--namespace", NAMESPACE, "--output", "json"
    )
    return found


def _cpu(tools: Tools) -> dict[str, tuple[float, int]]:
    """CPU seconds and answers of each pod so far, by boot id, from the reports that the operator reads too."""
    label = f"{naming.LABEL_SERVICE}={naming.label_value(SERVICE)}"
    pods = tools.run("kubectl", "get", "pods", "--namespace", NAMESPACE, "--selector", label, "--output", "name")
    seen = {}
    for name in pods.split():
        path = f"/api/v1/namespaces/{NAMESPACE}/pods/{name.removeprefix('pod/')}:{naming.PORT_ADMIN}/proxy/report"
        with suppress(CorefitError):  # a pod that goes away while we ask is not one to count
            report = reports.decode(tools.run("kubectl", "get", "--raw", path).encode())
            seen[report.boot_id] = (report.counters.cpu_seconds, report.counters.completed)
    return seen


def _cpu_a_request(before: dict[str, tuple[float, int]], after: dict[str, tuple[float, int]]) -> float:
    """CPU seconds a request of the pods that were there all the time."""
    pairs = [(before[boot], after[boot]) for boot in before if boot in after]
    answered = sum(b[1] - a[1] for a, b in pairs)
    return sum(b[0] - a[0] for a, b in pairs) / answered if answered else 0.0
