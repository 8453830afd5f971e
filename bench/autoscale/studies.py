"""What the grid does not show: flawed reports, CPU of a pod, and what is had without foresight. On one cell."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec
from cells import REPRESENTATIVE, all_traces
from rich.console import Console
from rich.progress import track
from store import RESULTS, Case, Row, append, row

from corefit.simulate.flaws import Flaws
from corefit.simulate.outcome import Setting
from corefit.simulate.run import simulate
from corefit.simulate.traces import Trace
from corefit_core.recommender import CpuRange

FLAWS: Final = {
    "none": Flaws(),
    "service time 30 % too low": Flaws(service_factor=0.7),
    "service time 30 % too high": Flaws(service_factor=1.3),
    "reports 10 s late": Flaws(late_s=10.0),
    "a third of the pods silent": Flaws(silent=1 / 3),
}
FLAWED_TRACES: Final = ("synthetic-diurnal", "synthetic-bursty")
HEADROOMS: Final = (0.0, 0.5, 1.0)
RANGE: Final = CpuRange(min_millicores=1000, max_millicores=8000)
FLAWED, RANGED, FORESEEN = RESULTS / "flaws.jsonl", RESULTS / "ranges.jsonl", RESULTS / "foresight.jsonl"
GIVEN: Final = REPRESENTATIVE.setting()


def flaws(folder: Path | None) -> None:
    """Corefit with flawed reports, on one smooth trace and one with bursts."""
    FLAWED.unlink(missing_ok=True)
    for trace in _traces(folder):
        if trace.name in FLAWED_TRACES:
            for name, each in FLAWS.items():
                _keep(
                    FLAWED, trace, {name: row(simulate("corefit", trace, msgspec.structs.replace(GIVEN, flaws=each)))}
                )


def ranges(folder: Path | None) -> None:
    """Corefit with CPU of 1 to 8 cores a pod at three head-rooms; with pods alone it is in the grid."""
    RANGED.unlink(missing_ok=True)
    for trace in _traces(folder):
        named = {f"head-room {100 * headroom:g} %": _ranged(headroom) for headroom in HEADROOMS}
        _keep(RANGED, trace, {name: row(simulate("corefit", trace, given)) for name, given in named.items()})


def foresight(folder: Path | None) -> None:
    """What the load of the moment is worth, known exactly; all knowledge, none and Corefit's are in the grid."""
    FORESEEN.unlink(missing_ok=True)
    for trace in _traces(folder):
        _keep(FORESEEN, trace, {"reactive": row(simulate("reactive", trace, GIVEN))})


def _ranged(headroom: float) -> Setting:
    service = msgspec.structs.replace(GIVEN.service, cpu_range=RANGE, headroom=headroom)
    return msgspec.structs.replace(GIVEN, service=service)


def _traces(folder: Path | None) -> Iterator[Trace]:
    yield from track(list(all_traces(folder)), console=Console(stderr=True))


def _keep(path: Path, trace: Trace, rows: dict[str, Row]) -> None:
    append(Case(str(REPRESENTATIVE), trace.name, rows), path)
