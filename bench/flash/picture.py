"""The picture: what missed the objective and what was requested, second by second, a row a school. Decides nothing."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure


def draw(path: Path, trials: Sequence[Any], crowd: Any) -> None:
    """Write it as PNG."""
    step, burst = crowd.phases()
    figure = Figure(figsize=(11, 1.35 * len(trials) + 1.2), layout="constrained")
    rows = figure.subplots(len(trials), 1, sharex=True, squeeze=False)[:, 0]
    figure.suptitle("A flash crowd: requests that missed the objective, and cores requested", x=0.01, ha="left")
    for axes, trial in zip(rows, trials, strict=True):
        at = [second.at_s - step.begin_s for second in trial.seconds]
        axes.fill_between(
            at, [s.sent for s in trial.seconds], step="post", color="#86bbd8", alpha=0.35, lw=0, label="sent/s"
        )
        axes.fill_between(
            at, [s.missed for s in trial.seconds], step="post", color="#b0413e", alpha=0.85, lw=0, label="missed/s"
        )
        for phase in (step, burst):
            axes.axvspan(phase.begin_s - step.begin_s, phase.end_s - step.begin_s, color="black", alpha=0.04, lw=0)
        found = {each.phase: each for each in trial.phases}
        text = ", ".join(
            f"{name} {100 * each.attainment:.1f} % in time at {each.core_seconds:.0f} core-seconds"
            for name, each in found.items()
        )
        axes.set_title(f"{trial.title}: {text}", loc="left", fontsize=9)
        axes.set_ylabel("1/s", fontsize=8)
        cores = axes.twinx()
        cores.step(at, [s.cores for s in trial.seconds], where="post", color="#33658a", lw=1.3, label="cores requested")
        cores.set_ylim(0, 2.2)
        cores.set_ylabel("cores", fontsize=8, color="#33658a")
        for each in (axes, cores):
            each.tick_params(labelsize=8)
            each.spines["top"].set_visible(False)
    handles = [h for a in (axes, cores) for h in a.get_legend_handles_labels()[0]]
    figure.legend(handles=handles, loc="upper right", ncols=3, frameon=False, fontsize=9)
    rows[-1].set_xlabel("seconds from the step")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
