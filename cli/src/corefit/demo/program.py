"""The composition of the demo: sets up, measures, shows, judges, and takes everything down again."""

import asyncio
from contextlib import ExitStack
from typing import Any

import msgspec

from corefit.demo import alone, picture, stage
from corefit.demo.background import Background
from corefit.demo.measure import Measurement, cpu_a_request, reports_of, resource
from corefit.demo.predictions import check_digits, known_rows
from corefit.demo.savings import savings
from corefit.demo.settings import DIGITS, SERVICE, Settings
from corefit.demo.tools import Tools
from corefit.demo.verdict import verdict
from corefit.demo.view import Console
from corefit_core.spec.decode import decode
from corefit_core.spec.serving_spec import ServingSpec


class Demo:
    """One run."""

    def __init__(self, settings: Settings, console: Console) -> None:
        self._settings = settings
        self._console = console
        self._measured = Measurement(settings.root, settings.steps, settings.settled_s, console)

    def run(self) -> int:
        """From nothing to nothing; the cluster goes also when something has failed on the way."""
        tools = stage.environment(self._settings.root)
        self._begin(tools)
        try:
            return asyncio.run(self._show(stage.set_up(self._settings, tools, self._console)))
        finally:
            stage.take_down(self._settings, tools, self._console)

    def _begin(self, tools: Tools) -> None:
        """Something to see within the first minute, while what the cluster needs is built: that takes long, once."""
        with ExitStack() as running:
            building = None
            if stage.can_have_cluster():  # else its start says why not, and nobody waits for a build before that
                building = running.enter_context(Background(tools, self._console, "corefit-devcluster", "build"))
            with self._console.stage(f"{DIGITS} on this machine: the runtime alone, no Kubernetes"):
                running.enter_context(alone.served(self._settings.root, tools, self._console))
            if building is not None:
                with self._console.stage("the cluster's programs, which are built once"):
                    building.wait()

    async def _show(self, tools: Tools) -> int:
        with self._console.stage(f"asking {DIGITS} for rows that it never saw"):
            accuracy = await check_digits(stage.url_of(tools, DIGITS), self._known(DIGITS))
        spec = decode(resource(tools))
        before = reports_of(tools)
        with self._console.stage(f"load on {SERVICE}: " + ", ".join(f"{s.rate:g}/s" for s in self._settings.steps)):
            await self._measured.run(tools)
        load, points = self._measured.recorder.summary(), self._measured.timeline.points
        saved = savings(
            points,
            cpu_s_a_request=cpu_a_request(before, reports_of(tools)),
            pod_cores=spec.millicores / 1000,
            bounds=(spec.policy.min_replicas, spec.policy.max_replicas),
        )
        checks = verdict(accuracy, load, points, self._measured.peak_from_s, self._measured.back_from_s)
        self._console.summary(load, saved, checks)
        self._keep_record(spec)
        return 0 if all(check.passed for check in checks) else 1

    def _known(self, name: str) -> Any:
        return known_rows(self._settings.root / "examples" / name / "rows.json")

    def _keep_record(self, spec: ServingSpec) -> None:
        folder = self._settings.output
        folder.mkdir(parents=True, exist_ok=True)
        timeline, recorder = self._measured.timeline, self._measured.recorder
        objective_s = spec.objective.latency_s
        picture.draw(folder / "demo.png", timeline.points, timeline.decisions, recorder, objective_s)
        samples = {"points": timeline.points, "decisions": timeline.decisions, "samples": list(recorder)}
        (folder / "demo.json").write_bytes(msgspec.json.encode(samples))
        self._console.say(f"Picture: {folder / 'demo.png'}, all samples: {folder / 'demo.json'}")
