"""The picture: load, replicas, latency and decisions on one time axis. Draws what it is given and decides nothing."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from corefit.demo.timeline import Decided, Point
from corefit.load import Kind, Recorder
from corefit_core.quantity import parse_millicores


def draw(
    path: Path, points: Sequence[Point], decisions: Sequence[Decided], recorder: Recorder, objective_s: float
) -> None:
    """Write the picture as PNG."""
    figure = Figure(figsize=(10, 7.5), layout="constrained")
    load, replicas, latency = figure.subplots(3, 1, sharex=True, height_ratios=[1, 1.2, 1.6])
    figure.suptitle("The load, the replicas, and what each request waited", x=0.01, ha="left", fontweight="bold")
    _load(load, points, recorder)
    _replicas(replicas, points, decisions)
    _latency(latency, points, recorder, objective_s)
    for axes in (load, replicas, latency):
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="y", alpha=0.25)
        for made in decisions:
            axes.axvline(made.at_s, color="#b0413e", lw=0.8, ls=":")
    figure.savefig(path, dpi=110)


def _legend(axes: Any, columns: int) -> None:
    """Above the axes, where no point can be under it."""
    axes.legend(loc="lower right", bbox_to_anchor=(1, 0.98), frameon=False, ncols=columns, markerscale=3)


def _load(axes: Any, points: Sequence[Point], recorder: Recorder) -> None:
    times = [point.at_s for point in points]
    axes.step(times, [point.rate for point in points], where="post", color="#33658a", label="offered, requests/s")
    axes.plot(times, [point.in_flight for point in points], color="#86bbd8", lw=1, label="in flight")
    refused = Counter(int(sample.intended_s) for sample in recorder if sample.kind is Kind.SHED)
    axes.bar(
        [second + 0.5 for second in refused], list(refused.values()), 1, color="#b0413e", alpha=0.5, label="refused/s"
    )
    axes.set_ylim(bottom=0)
    axes.set_ylabel("load")
    _legend(axes, 3)


def _replicas(axes: Any, points: Sequence[Point], decisions: Sequence[Decided]) -> None:
    times = [point.at_s for point in points]
    wanted = [point.service.wanted for point in points]
    axes.step(times, wanted, where="post", color="#b0413e", label="wanted")
    axes.fill_between(
        times, [point.service.ready for point in points], step="post", color="#758e4f", alpha=0.45, label="ready"
    )
    for made in decisions:
        axes.annotate(
            f"{made.reason} → {made.replicas}",
            (made.at_s, made.replicas),
            (3, 3),
            textcoords="offset points",
            fontsize=8,
        )
    axes.set_ylim(0, max(wanted, default=1) + 1)
    _cpu(axes, points)
    axes.yaxis.get_major_locator().set_params(integer=True)
    axes.set_ylabel("replicas")
    _legend(axes, 2)


def _cpu(axes: Any, points: Sequence[Point]) -> None:
    """CPU of a pod, the most where they differ, on a scale of its own; nothing where it never changes in place."""
    sizes = [(p.at_s, most_cores(p.service.cpu)) for p in points if p.service.cpu]
    if not sizes:
        return
    cores = axes.twinx()
    cores.step(*zip(*sizes, strict=True), where="post", color="#33658a", lw=1.2)
    cores.set_ylim(0, 1.25 * max(size for _, size in sizes))
    cores.set_ylabel("cores of a pod", color="#33658a")
    cores.spines["top"].set_visible(False)


def most_cores(text: str) -> float:
    """Of `250m`, or of the range `250m-1`."""
    return parse_millicores(text.rpartition("-")[2]) / 1000


def _latency(axes: Any, points: Sequence[Point], recorder: Recorder, objective_s: float) -> None:
    answered = [sample for sample in recorder if sample.kind is Kind.OK]
    lost = [sample for sample in recorder if sample.kind in {Kind.ERROR, Kind.WRONG}]
    axes.scatter(
        [s.intended_s for s in answered],
        [1000 * s.latency_s for s in answered],
        s=3,
        alpha=0.3,
        color="#33658a",
        label="each request",
    )
    if lost:
        axes.scatter(
            [s.intended_s for s in lost],
            [1000 * s.latency_s for s in lost],
            s=14,
            marker="x",
            color="#b0413e",
            label="lost",
        )
    seen = [point for point in points if point.p99_s is not None]
    axes.plot(
        [p.at_s for p in seen], [1000 * (p.p99_s or 0) for p in seen], color="#f26419", lw=1.3, label="p99, last 5 s"
    )
    axes.axhline(1000 * objective_s, color="black", lw=0.8, ls="--", label="objective")
    axes.set_yscale("log")
    axes.set_ylabel("latency, ms")
    axes.set_xlabel("seconds")
    _legend(axes, 4)
