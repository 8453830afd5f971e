"""The same load on the real cluster and in the simulator: replicas over time and attainment, side by side.

    python bench/autoscale/reality.py [--keep] [--output docs/pictures/reality.png]

One service of the examples' load model, 1 to 6 pods of a quarter of a core each, under a step and a burst (7 minutes).
The simulator gets the arrival times that were really sent, and what the pods reported: CPU a request, the variation
of the service time, and start-up. Needs what `make demo` needs. May not judge: it writes a picture and a table, and
says what was fed in.
"""

import argparse
import asyncio
import itertools
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
from matplotlib.figure import Figure
from rich.console import Console as RichConsole
from rich.table import Table

from corefit.demo import stage
from corefit.demo.measure import Measurement, cpu_a_request, reports_of, resource
from corefit.demo.settings import NAMESPACE, SERVICE, Settings, checkout
from corefit.demo.tools import Tools
from corefit.demo.view import Console
from corefit.load import Kind, Sample, Step
from corefit.load.schedule import duration_s
from corefit.simulate.fleet import Service as Simulated
from corefit.simulate.outcome import Outcome, Setting
from corefit.simulate.run import simulate
from corefit.simulate.traces import Trace
from corefit_core.report import Histogram, Report
from corefit_core.service import Service, decode

STEPS: Final = (
    Step(rate=8, duration_s=60),
    Step(rate=40, duration_s=120),
    Step(rate=8, duration_s=90),
    Step(rate=48, duration_s=20),
    Step(rate=8, duration_s=130),
)
"""A step to five times the load, and a burst that is shorter than the window for going down."""
MAX_REPLICAS: Final = 6


class Fed(msgspec.Struct, frozen=True, kw_only=True):
    """What the simulator is told of the real pods, in seconds; a pod has one worker.

    Attributes:
        service_s: CPU of a request over the cores of a pod: what a worker takes when its quota is always used up. The
            measured service time is that only then; an idle pod saves up to a period's quota, and answers sooner.
        measured_s: the mean service time as reported, for comparison.
    """

    service_s: float
    measured_s: float
    service_cv: float
    startup_s: float


def main() -> int:
    """Run it; 0 when both sides were measured."""
    parser = argparse.ArgumentParser(description="the simulator against the real cluster")
    parser.add_argument("--keep", action="store_true", help="leave the cluster")
    parser.add_argument("--output", type=Path, default=Path("docs/pictures/reality.png"), help="the picture")
    arguments = parser.parse_args()
    console = Console(RichConsole())
    settings = Settings(root=checkout(), output=arguments.output.parent, cluster="reality", keep=arguments.keep)
    tools = stage.environment(settings.root)
    try:
        tools = stage.set_up(settings, tools, console)
        measured, fed, service = _measure(settings, tools, console)
    finally:
        stage.take_down(settings, tools, console)
    samples = sorted(measured.recorder, key=lambda sample: sample.intended_s)
    outcome = _simulated(samples, fed, service)
    _draw(arguments.output, measured, outcome, service)
    RichConsole().print(_table(samples, measured, outcome, fed, service))
    return 0


def _measure(settings: Settings, tools: Tools, console: Console) -> tuple[Measurement, Fed, Service]:
    patch = json.dumps({"spec": {"scaling": {"maxReplicas": MAX_REPLICAS}}})
    tools.run("kubectl", "patch", "cfis", SERVICE, "--namespace", NAMESPACE, "--type=merge", "--patch", patch)
    measured = Measurement(settings.root, STEPS, None, console)
    before = reports_of(tools)
    with console.stage(f"load on {SERVICE}: " + ", ".join(f"{s.rate:g}/s for {s.duration_s:g} s" for s in STEPS)):
        asyncio.run(measured.run(tools))
    service = decode(resource(tools))
    return measured, _fed(before, reports_of(tools), service.millicores / 1000), service


def _fed(before: Mapping[str, Report], after: Mapping[str, Report], cores: float) -> Fed:
    """Of the pods that are there at the end: the one that began has seen all of it."""
    times = Histogram()
    for each in after.values():
        times = times.plus(each.service_time)
    mean = times.mean_s or math.nan
    return Fed(
        service_s=max(mean, cpu_a_request(before, after) / cores),
        measured_s=mean,
        service_cv=min(1.0, math.sqrt(times.variance_s2 or 0.0) / mean),
        startup_s=max(each.startup_s for each in after.values()) + SCHEDULED_S,
    )


SCHEDULED_S: Final = 4.0
"""From the decision to the process's start, and from ready until the pod counts: scheduling and sandbox about 1.5 s,
minReadySeconds 2, the readiness probe's period half of 2."""


def _simulated(samples: Sequence[Sample], fed: Fed, service: Service) -> Outcome:
    arrivals = np.array([sample.intended_s for sample in samples])
    simulated = Simulated(
        service_s=fed.service_s,
        service_cv=fed.service_cv,
        workers=service.plan.workers,
        startup_s=fed.startup_s,
        objective=service.objective,
        balancing="random",
    )
    policy = msgspec.structs.replace(service.policy, startup_s=fed.startup_s)
    setting = Setting(service=simulated, policy=policy, max_replicas=MAX_REPLICAS)
    return simulate("corefit", Trace("reality", arrivals, duration_s(STEPS)), setting)


def _attainment(samples: Sequence[Sample], latency_s: float) -> float:
    return sum(s.kind is Kind.OK and s.latency_s <= latency_s for s in samples) / len(samples)


def _changes(replicas: Sequence[int]) -> int:
    return sum(a != b for a, b in itertools.pairwise(replicas))


def _table(samples: Sequence[Sample], measured: Measurement, outcome: Outcome, fed: Fed, service: Service) -> Table:
    table = Table(
        title=f"{len(samples)} requests; service {1000 * fed.service_s:.1f} ms at the quota, "
        f"{1000 * fed.measured_s:.1f} ms measured (cv {fed.service_cv:.2f}), "
        f"start-up {fed.startup_s:.1f} s, objective p{service.objective.percentile:g} "
        f"{1000 * service.objective.latency_s:g} ms"
    )
    for heading in ("", "in time %", "turned away %", "pod-seconds", "changes", "most pods"):
        table.add_column(heading, justify="right")
    points = measured.timeline.points
    pods = [point.service.pods for point in points]
    shed = sum(s.kind is Kind.SHED for s in samples) / len(samples)
    attained = _attainment(samples, service.objective.latency_s)
    wanted = [point.service.wanted for point in points]
    table.add_row(
        "cluster", f"{100 * attained:.2f}", f"{100 * shed:.2f}", f"{sum(pods)}", f"{_changes(wanted)}", f"{max(pods)}"
    )
    table.add_row(
        "simulator",
        f"{100 * outcome.attainment:.2f}",
        f"{100 * outcome.shed:.2f}",
        f"{3600 * outcome.core_hours / service.plan.workers:.0f}",
        f"{outcome.scale_changes}",
        f"{max(outcome.replicas)}",
    )
    return table


def _draw(path: Path, measured: Measurement, outcome: Outcome, service: Service) -> None:
    figure = Figure(figsize=(10, 7), layout="constrained")
    load, replicas, late = figure.subplots(3, 1, sharex=True, height_ratios=(1, 1.6, 1.3))
    points = measured.timeline.points
    seconds = [point.at_s for point in points]
    load.step(seconds, [point.rate for point in points], where="post", color="#33658a")
    load.set(ylabel="requests/s", ylim=(0, None))
    wanted = [point.service.wanted for point in points]
    replicas.step(seconds, wanted, where="post", color="#33658a", label="cluster")
    times = (*outcome.times_s, duration_s(STEPS))
    simulated = (*outcome.replicas, outcome.replicas[-1])
    replicas.step(times, simulated, where="post", color="#f26419", ls="--", label="simulator")
    replicas.set(ylabel="replicas wanted", ylim=(0, MAX_REPLICAS + 1))
    replicas.legend(frameon=False)
    _missed(late, measured, service)
    figure.suptitle("The same arrivals on the cluster and in the simulator", x=0.01, ha="left", fontweight="bold")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


def _missed(axes: Any, measured: Measurement, service: Service) -> None:
    """Requests late or turned away, by 5 s of the time at which they were meant to be sent."""
    edges = np.arange(0, duration_s(STEPS) + 5, 5)
    sent = np.array([s.intended_s for s in measured.recorder])
    bad = [s.kind is not Kind.OK or s.latency_s > service.objective.latency_s for s in measured.recorder]
    share = np.histogram(sent[bad], edges)[0] / np.maximum(1, np.histogram(sent, edges)[0])
    axes.step(edges[:-1], 100 * share, where="post", color="#33658a", label="cluster")
    axes.set(ylabel="missed, % (cluster)", xlabel="seconds", ylim=(0, 100))


if __name__ == "__main__":
    raise SystemExit(main())
