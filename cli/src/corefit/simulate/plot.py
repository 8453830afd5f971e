"""The picture of a simulation: load and capacity by policy, p99 by the minute, cost against attainment."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backend_bases import FigureCanvasBase
from matplotlib.figure import Figure

from corefit.simulate.outcome import Outcome, Setting
from corefit.simulate.requests import services
from corefit.simulate.scalers import offered
from corefit.simulate.traces import Trace
from corefit_core.errors import ConfigError

BIN_S = 10.0


def check(path: Path) -> None:
    """Refuse a file whose ending names no format.

    Raises:
        ConfigError: it names none.
    """
    formats = FigureCanvasBase.get_supported_filetypes()
    if path.suffix[1:].lower() not in formats:
        raise ConfigError(f"--plot {path}; its ending must be one of {', '.join(sorted(formats))}")


def draw(path: Path, trace: Trace, setting: Setting, outcomes: Sequence[Outcome]) -> None:
    """Write the picture; its format is that of the file's ending.

    Raises:
        ConfigError: the file can't be written.
    """
    figure = Figure(figsize=(11, 10), layout="constrained")
    load, latency, cost = figure.subplots(3, 1, height_ratios=(3, 2, 2))
    _load(load, trace, setting, outcomes)
    _latency(latency, setting, outcomes)
    _cost(cost, outcomes)
    figure.suptitle(f"{trace.name}: {len(trace.arrivals)} requests")
    try:
        figure.savefig(path, dpi=110)
    except OSError as error:
        raise ConfigError(f"--plot {path}: {error.strerror}") from error


def _load(axes: Axes, trace: Trace, setting: Setting, outcomes: Sequence[Outcome]) -> None:
    service = setting.service
    work = services(len(trace.arrivals), service.service_s, service.service_cv, setting.seed)
    erlangs = offered(trace, work, BIN_S)
    axes.fill_between(np.arange(len(erlangs)) * BIN_S / 60, erlangs, color="0.85", label="offered load")
    for outcome in outcomes:
        times = [t / 60 for t in (*outcome.times_s, trace.duration_s)]
        workers = [n * service.workers for n in (*outcome.replicas, outcome.replicas[-1])]
        axes.step(times, workers, where="post", label=outcome.policy, linewidth=1.2)
    axes.set(ylabel="workers asked for", ylim=(0, None))
    axes.legend(ncols=4, fontsize="small")


def _latency(axes: Axes, setting: Setting, outcomes: Sequence[Outcome]) -> None:
    for outcome in outcomes:
        values = [np.nan if s is None else 1000 * s for s in outcome.latency_s]
        axes.plot(np.arange(len(values)) + 0.5, values, label=outcome.policy, linewidth=1)
    axes.axhline(1000 * setting.service.objective.latency_s, color="black", linestyle=":", label="objective")
    axes.set(xlabel="minutes", ylabel="p99 of the answered, ms", ylim=(0, None))


def _cost(axes: Axes, outcomes: Sequence[Outcome]) -> None:
    for outcome in outcomes:
        axes.plot(outcome.core_hours, 100 * outcome.attainment, "o")
        axes.annotate(outcome.policy, (outcome.core_hours, 100 * outcome.attainment), fontsize="small")
    axes.set(xlabel="core-hours", ylabel="in time, %", xlim=(0, None))
