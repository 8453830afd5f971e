"""The grid: traces, cells, and the order in which a run that ends early has covered every dimension evenly."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from corefit.simulate import synthetic, traces
from corefit.simulate.outcome import Setting
from corefit.simulate.service import Service
from corefit.simulate.traces import Trace
from corefit_core.sizing import Objective

STARTUPS_S: Final = (5.0, 20.0, 60.0)
SERVICES_S: Final = (0.005, 0.05, 0.2)
WORKERS: Final = (1, 2, 4)
OBJECTIVE: Final = 3.0
"""Times the service time: what the issue's own example (50 ms, 150 ms) allows for waiting."""
TIMESTAMPS_SCALE: Final = 20.0
"""The recorded LLM services had 3 to 5 requests a second: as many as the other traces have, so that pods count."""
PEAK: Final = 250.0
RATES: Final = {0.005: 4.0}
"""Times the requests of each trace, by service time. At the rate that gives 50 ms its 12 Erlangs, 5 ms has one: a pod
at all times, and nothing to scale. With four times the requests the peaks are of 5, 12 and 50 Erlangs: three sizes."""


class Cell(NamedTuple):
    """One setting of the grid."""

    startup_s: float
    service_s: float
    workers: int

    def __str__(self) -> str:
        return f"startup={self.startup_s:g}s service={1000 * self.service_s:g}ms workers={self.workers}"

    def setting(self, unsized: float = 1.0) -> Setting:
        """What the simulator is to be told; `unsized` as in `Setting`."""
        objective = Objective(percentile=99.0, latency_s=OBJECTIVE * self.service_s)
        service = Service(service_s=self.service_s, workers=self.workers, startup_s=self.startup_s, objective=objective)
        return Setting(service=service, unsized=unsized)


REPRESENTATIVE: Final = Cell(20.0, 0.05, 2)


def cells() -> list[Cell]:
    """All 27: the representative one, two that hold the other values, the rest of a Latin square, the rest.

    In the square of nine every two values of two dimensions meet once.
    """

    def order(place: tuple[int, int, int]) -> tuple[bool, bool, bool, tuple[int, int, int]]:
        i, j, k = place
        square = (i + j + 2) % 3 == k
        return place != (1, 1, 1), not square, i != j, place

    places = sorted(((i, j, k) for i in range(3) for j in range(3) for k in range(3)), key=order)
    return [Cell(STARTUPS_S[i], SERVICES_S[j], WORKERS[k]) for i, j, k in places]


def all_traces(folder: Path | None, rate: float = 1.0) -> Iterator[Trace]:
    """Synthetic ones, and those of the folder if there is one, at so many times their requests."""
    yield from (synthetic.trace(shape, rate * PEAK) for shape in synthetic.SHAPES)
    if folder is None or not folder.is_dir():
        print("no folder of traces: the synthetic ones alone (--traces or COREFIT_TRACES)", file=sys.stderr)
        return
    files = sorted(p for p in folder.rglob("*") if p.suffixes[-1:] == [".txt"] and "LICENSE" not in p.name)
    yield from (traces.read(path, rate) for path in files)
    yield from (traces.read(path, rate * TIMESTAMPS_SCALE) for path in sorted(folder.rglob("*.csv.gz")))
