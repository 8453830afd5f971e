"""Cost against missed requests, a picture for each family of traces: Corefit, HPA, KPA and Ray at all settings."""

import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from bars import OBJECTIVE
from matplotlib.figure import Figure
from rivals import HPA, KPA, RAY
from store import Case

FAMILIES: Final = {
    "smooth": ("diurnal", "decay", "constant"),
    "noisy": ("noisy",),
    "bursts": ("bursty",),
    "jumps": ("flash", "step", "on-off"),
    "llm": ("code", "conv"),
}
LEAST: Final = 1e-4
"""Missed shares below are drawn there: a logarithm needs an end."""
GROUPS: Final[tuple[tuple[str, tuple[str, ...], str, str], ...]] = (
    ("HPA, 30 to 90 %", HPA, "s", "#8d99ae"),
    ("KPA, 50 to 90 %", KPA, "^", "#33658a"),
    ("Ray Serve", RAY, "D", "#6a994e"),
    ("Corefit", ("corefit",), "o", "#f26419"),
)


def draw(folder: Path, cases: Sequence[Case]) -> None:
    """One picture for each family that was simulated."""
    for family, words in FAMILIES.items():
        chosen = [case for case in cases if any(word in case.trace for word in words)]
        if chosen:
            _draw(folder / f"{family}.png", family, chosen)


def _draw(path: Path, family: str, cases: Sequence[Case]) -> None:
    figure = Figure(figsize=(9, 6), layout="constrained")
    axes = figure.subplots()
    for label, names, marker, color in GROUPS:
        _group(axes, cases, names, {"label": label, "marker": marker, "color": color})
    axes.axhline(100 * (1 - OBJECTIVE), color="black", ls=":", lw=1)
    axes.axvline(1, color="black", ls=":", lw=1)
    axes.annotate(
        "the objective", (0.99, 100 * (1 - OBJECTIVE)), xycoords=("axes fraction", "data"), ha="right", va="bottom"
    )
    axes.set(xscale="log", yscale="log", xlabel="core-hours over the clairvoyant's", ylabel="missed requests, %")
    axes.set_xticks([0.5, 0.7, 1, 1.5, 2, 3, 5, 10], [f"{tick:g}" for tick in (0.5, 0.7, 1, 1.5, 2, 3, 5, 10)])
    axes.set_yticks([0.01, 0.1, 1, 10, 100], ["0.01", "0.1", "1", "10", "100"])
    axes.minorticks_off()
    axes.legend(frameon=False)
    traces = sorted({case.trace for case in cases})
    settings = f"{family}: {len(cases)} case{'s' * (len(cases) > 1)} of {', '.join(traces)}"
    title = f"{settings}\nlarge: the median of each setting; lower left is better"
    figure.suptitle(title, x=0.01, ha="left", fontsize="medium")
    figure.savefig(path, dpi=110)


def _group(axes: Any, cases: Sequence[Case], names: Sequence[str], style: dict[str, str]) -> None:
    medians = []
    for name in names:
        ratios = [case.rows[name].core_hours / case.rows["clairvoyant"].core_hours for case in cases]
        missed = [100 * max(LEAST, 1 - case.rows[name].attainment) for case in cases]
        axes.plot(ratios, missed, ls="", marker=style["marker"], color=style["color"], ms=3, alpha=0.25)
        medians.append((statistics.median(ratios), statistics.median(missed)))
    axes.plot(*zip(*medians, strict=True), ls="-", lw=1.2, ms=8, mec="white", **style)
