"""The same load on the real cluster and in the simulator: replicas over time and attainment, side by side.

    python bench/autoscale/reality.py [--again] [--keep]

One service of the examples' load model, 1 to 6 pods of a quarter of a core each, under a step and a burst (7 minutes).
The simulator gets the arrival times that were sent, and what was measured of the pods: CPU a request, the spread of
the service time, and how long a pod took to come. What was measured is kept in bench/results/autoscale/reality.json;
`--again` simulates anew from that. Needs what `make demo` needs. May not judge: it writes a picture and a table, and
says what was fed in.
"""

import argparse
import asyncio
import itertools
import json
import math
import statistics
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
from corefit.demo.timeline import Point
from corefit.demo.tools import Tools
from corefit.demo.view import Console
from corefit.load import Kind, Sample, Step, intended_times
from corefit.load.schedule import duration_s
from corefit.simulate.outcome import Outcome, Setting
from corefit.simulate.run import simulate
from corefit.simulate.service import Service as Simulated
from corefit.simulate.traces import Trace
from corefit_core.histogram import Histogram
from corefit_core.recommender import Policy
from corefit_core.report import Report
from corefit_core.spec.decode import decode

STEPS: Final = (
    Step(rate=8, duration_s=60),
    Step(rate=40, duration_s=120),
    Step(rate=8, duration_s=90),
    Step(rate=48, duration_s=20),
    Step(rate=8, duration_s=130),
)
"""A step to five times the load, and a burst that is shorter than the window for going down."""
MAX_REPLICAS: Final = 6
MINUTE_S: Final = 60
CLUSTER, SIMULATOR = "#33658a", "#f26419"


class Second(msgspec.Struct, frozen=True, kw_only=True):
    """What the cluster showed at a moment: requests a second, and pods wanted, there, and serving."""

    at_s: float
    rate: float
    wanted: int
    pods: int
    ready: int


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """The real side, and what the simulator is told of it, in seconds.

    Attributes:
        policy, workers: of the resource.
        seconds: of the run.
        missed: the share of each minute's requests that missed the objective.
        attainment, shed: the shares of all requests that were in time, and turned away.
        service_s: CPU of a request over the cores of a pod: what a worker takes when its quota is always used up. The
            measured service time is that only then; an idle pod saves up to a period's quota, and answers sooner.
        measured_s, spread_s: mean and standard deviation of the service time as reported.
        startup_s: from when pods were wanted until they served.
    """

    policy: Policy
    workers: int
    seconds: list[Second]
    missed: list[float]
    attainment: float
    shed: float
    service_s: float
    measured_s: float
    spread_s: float
    startup_s: float


def main() -> int:
    """Run it; 0 when both sides were measured."""
    parser = argparse.ArgumentParser(description="the simulator against the real cluster")
    parser.add_argument("--again", action="store_true", help="only simulate and draw, from what was measured last")
    parser.add_argument("--keep", action="store_true", help="leave the cluster")
    arguments = parser.parse_args()
    root = checkout()
    kept = root / "bench/results/autoscale/reality.json"
    if not arguments.again:
        kept.write_bytes(msgspec.json.format(msgspec.json.encode(_on_cluster(root, keep=arguments.keep))) + b"\n")
    measured = msgspec.json.decode(kept.read_bytes(), type=Measured)
    outcome = _simulated(measured)
    _draw(root / "docs/pictures/reality.png", measured, outcome)
    RichConsole().print(_table(measured, outcome))
    return 0


def _on_cluster(root: Path, *, keep: bool) -> Measured:
    console = Console(RichConsole())
    settings = Settings(root=root, output=root / ".demo", cluster="reality", keep=keep)
    tools = stage.environment(root)
    try:
        tools = stage.set_up(settings, tools, console)
        return _measured(settings, tools, console)
    finally:
        stage.take_down(settings, tools, console)


def _measured(settings: Settings, tools: Tools, console: Console) -> Measured:
    patch = json.dumps({"spec": {"scaling": {"maxReplicas": MAX_REPLICAS}}})
    tools.run("kubectl", "patch", "cfis", SERVICE, "--namespace", NAMESPACE, "--type=merge", "--patch", patch)
    measured = Measurement(settings.root, STEPS, None, console)
    before = reports_of(tools)
    with console.stage(f"load on {SERVICE}: " + ", ".join(f"{s.rate:g}/s for {s.duration_s:g} s" for s in STEPS)):
        asyncio.run(measured.run(tools))
    service, after = decode(resource(tools)), reports_of(tools)
    samples = sorted(measured.recorder, key=lambda sample: sample.intended_s)
    missed = [s.kind is not Kind.OK or s.latency_s > service.objective.latency_s for s in samples]
    times = _service_times(after)
    mean = times.mean_s or math.nan
    return Measured(
        policy=service.policy,
        workers=service.plan.workers,
        seconds=[_second(point) for point in measured.timeline.points],
        missed=_by_minute(samples, missed),
        attainment=1 - sum(missed) / len(samples),
        shed=sum(s.kind is Kind.SHED for s in samples) / len(samples),
        service_s=max(mean, cpu_a_request(before, after) / (service.millicores / 1000)),
        measured_s=mean,
        spread_s=math.sqrt(times.variance_s2 or 0.0),
        startup_s=_startup_s(measured.timeline.points),
    )


def _second(point: Point) -> Second:
    seen = point.service
    return Second(at_s=point.at_s, rate=point.rate, wanted=seen.wanted, pods=seen.pods, ready=seen.ready)


def _service_times(reports: Mapping[str, Report]) -> Histogram:
    """Of the pods that are there at the end: the one that began has seen all of it."""
    times = Histogram()
    for each in reports.values():
        times = times.plus(each.service_time)
    return times


def _by_minute(samples: Sequence[Sample], missed: Sequence[bool]) -> list[float]:
    minutes = np.arange(0, duration_s(STEPS) + 1, MINUTE_S)
    sent = np.array([sample.intended_s for sample in samples])
    bad = np.histogram(sent[np.array(missed)], minutes)[0]
    return [float(share) for share in bad / np.maximum(1, np.histogram(sent, minutes)[0])]


def _startup_s(points: Sequence[Point]) -> float:
    """The median time from when more pods were wanted until as many served."""
    took = []
    for before, after in itertools.pairwise(points):
        if after.service.wanted > before.service.wanted:
            wanted, begin = after.service.wanted, after.at_s
            served = (p.at_s for p in points if p.at_s > begin and p.service.ready >= wanted)
            took.append(next(served, math.inf) - begin)
    return statistics.median(took)


def _simulated(measured: Measured) -> Outcome:
    """The same in the simulator. Stalls spread a pod's times by as much as was measured, however busy it is."""
    arrivals = np.array(list(intended_times(STEPS)))
    simulated = Simulated(
        service_s=measured.service_s,
        service_cv=min(1.0, measured.spread_s / measured.service_s),
        workers=measured.workers,
        startup_s=measured.startup_s,
        objective=measured.policy.objective,
        balancing="random",
    )
    policy = msgspec.structs.replace(measured.policy, startup_s=measured.startup_s)
    setting = Setting(service=simulated, policy=policy, max_replicas=MAX_REPLICAS)
    return simulate("corefit", Trace("reality", arrivals, duration_s(STEPS)), setting)


def _table(measured: Measured, outcome: Outcome) -> Table:
    objective, seconds = measured.policy.objective, measured.seconds
    table = Table(
        title=f"service {1000 * measured.service_s:.1f} ms at the quota, {1000 * measured.measured_s:.1f} ms measured, "
        f"spread {1000 * measured.spread_s:.1f} ms, start-up {measured.startup_s:.1f} s, "
        f"objective p{objective.percentile:g} {1000 * objective.latency_s:g} ms"
    )
    for heading in ("", "in time %", "turned away %", "pod-seconds", "changes", "most pods"):
        table.add_column(heading, justify="right")
    _row(
        table,
        "cluster",
        (measured.attainment, measured.shed),
        sum(s.pods for s in seconds),
        [s.wanted for s in seconds],
    )
    pod_s = 3600 * outcome.core_hours / measured.workers
    _row(table, "simulator", (outcome.attainment, outcome.shed), pod_s, outcome.replicas)
    return table


def _row(table: Table, name: str, shares: tuple[float, float], pod_s: float, wanted: Sequence[int]) -> None:
    changes = sum(a != b for a, b in itertools.pairwise(wanted))
    table.add_row(name, *(f"{100 * share:.2f}" for share in shares), f"{pod_s:.0f}", f"{changes}", f"{max(wanted)}")


def _draw(path: Path, measured: Measured, outcome: Outcome) -> None:
    figure = Figure(figsize=(10, 7), layout="constrained")
    load, replicas, late = figure.subplots(3, 1, sharex=True, height_ratios=(1, 1.6, 1.3))
    seconds = [second.at_s for second in measured.seconds]
    load.step(seconds, [second.rate for second in measured.seconds], where="post", color="black")
    load.set(ylabel="requests/s", ylim=(0, None))
    wanted = [second.wanted for second in measured.seconds]
    replicas.step(seconds, wanted, where="post", color=CLUSTER, label="cluster")
    simulated = (*outcome.replicas, outcome.replicas[-1])
    replicas.step(
        (*outcome.times_s, duration_s(STEPS)), simulated, where="post", color=SIMULATOR, ls="--", label="simulator"
    )
    replicas.set(ylabel="replicas wanted", ylim=(0, MAX_REPLICAS + 0.5))
    replicas.legend(frameon=False, ncols=2)
    _bars(late, measured.missed, -1, CLUSTER)
    _bars(late, [share or 0.0 for share in outcome.missed], 1, SIMULATOR)
    late.set(ylabel="missed in the minute, %", xlabel="seconds", ylim=(0, None))
    late.legend(
        labels=[f"cluster, {100 * measured.attainment:.1f} % in time", f"simulator, {100 * outcome.attainment:.1f} %"],
        frameon=False,
    )
    figure.suptitle("The same arrivals on the cluster and in the simulator", x=0.01, ha="left", fontweight="bold")
    figure.savefig(path, dpi=110)


def _bars(axes: Any, missed: Sequence[float], side: int, colour: str) -> None:
    width = MINUTE_S / 5
    middles = [MINUTE_S * (minute + 0.5) + side * width / 2 for minute in range(len(missed))]
    axes.bar(middles, [100 * share for share in missed], width, color=colour)


if __name__ == "__main__":
    raise SystemExit(main())
