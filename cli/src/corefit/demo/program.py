"""The composition of the demo: sets up, measures, shows, judges, and takes everything down again."""

import asyncio
from contextlib import suppress
from typing import Any

import msgspec

from corefit.demo import picture, stage
from corefit.demo.measure import Measurement, resource
from corefit.demo.predictions import check_digits, known_rows
from corefit.demo.savings import savings
from corefit.demo.settings import DIGITS, NAMESPACE, SERVICE, Settings
from corefit.demo.tools import Tools
from corefit.demo.verdict import verdict
from corefit.demo.view import Console
from corefit_core import naming
from corefit_core import report as reports
from corefit_core.errors import CorefitError
from corefit_core.service import Service, decode


class Demo:
    """One run."""

    def __init__(self, settings: Settings, console: Console) -> None:
        self._settings = settings
        self._console = console
        self._measured = Measurement(settings.root, settings.steps, settings.settled_s, console)

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
        service = decode(resource(tools))
        before = _cpu(tools)
        with self._console.stage(f"load on {SERVICE}: " + ", ".join(f"{s.rate:g}/s" for s in self._settings.steps)):
            await self._measured.run(tools)
        load, points = self._measured.recorder.summary(), self._measured.timeline.points
        saved = savings(
            points,
            cpu_s_a_request=_cpu_a_request(before, _cpu(tools)),
            pod_cores=service.millicores / 1000,
            bounds=(service.policy.min_replicas, service.policy.max_replicas),
        )
        checks = verdict(accuracy, load, points, self._measured.back_from_s)
        self._console.summary(load, saved, checks)
        self._keep_record(service)
        return 0 if all(check.passed for check in checks) else 1

    def _known(self, name: str) -> Any:
        return known_rows(self._settings.root / "examples" / name / "rows.json")

    def _keep_record(self, service: Service) -> None:
        folder = self._settings.output
        folder.mkdir(parents=True, exist_ok=True)
        timeline, recorder = self._measured.timeline, self._measured.recorder
        objective_s = service.objective.latency_s
        picture.draw(folder / "demo.png", timeline.points, timeline.decisions, recorder, objective_s)
        samples = {"points": timeline.points, "decisions": timeline.decisions, "samples": list(recorder)}
        (folder / "demo.json").write_bytes(msgspec.json.encode(samples))
        self._console.say(f"Picture: {folder / 'demo.png'}, all samples: {folder / 'demo.json'}")


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
