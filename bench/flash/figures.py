"""From what became of requests and what pods requested to the figures of a trial. Pure."""

import bisect
import itertools
from collections.abc import Sequence

import msgspec
import numpy as np

from corefit.load import Kind
from corefit.load.record import Sample

BACK_S = 5.0
"""p99 is back at the first moment from which 99 of 100 requests of the next 5 s are in time: at 80 a second 400
requests, of which four may miss. A shorter window would call one late request a relapse."""
GRID_S = 0.1


class Phase(msgspec.Struct, frozen=True, kw_only=True):
    """A part of the load, seconds from its start, and from when in it recovery is counted, if it has a step."""

    name: str
    begin_s: float
    end_s: float
    step_s: float | None = None


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """Of one phase of a trial.

    Attributes:
        attainment: share of the requests answered within the objective; what was refused or lost has missed it.
        core_seconds: requested by all pods of the service, from the first moment to the last.
        cores_before: requested by them when the phase began; None in results from before this was kept.
        back_s: from the step until p99 is within the objective again; None: not within the phase, or no step.
        stays_s: from the step until it is for the rest of the phase.
        late_p99_s: how late the generator itself was.
    """

    phase: str
    sent: int
    attainment: float
    refused: int
    lost: int
    p50_s: float
    core_seconds: float
    back_s: float | None
    stays_s: float | None
    late_p99_s: float
    cores_before: float | None = None


class Second(msgspec.Struct, frozen=True, kw_only=True):
    """One second of a trial, for the picture: what was sent, what missed the objective, cores requested."""

    at_s: float
    sent: int
    missed: int
    cores: float


def of(
    phase: Phase, samples: Sequence[Sample], requested: Sequence[tuple[float, float]], objective_s: float
) -> Figures:
    """The figures of a phase; `requested` is cores by time, each until the next."""
    sent = [s for s in samples if phase.begin_s <= s.intended_s < phase.end_s]
    answered = [s.latency_s for s in sent if s.kind is Kind.OK]
    back, stays = (None, None) if phase.step_s is None else recovery(sent, objective_s, phase.step_s, phase.end_s)
    return Figures(
        phase=phase.name,
        sent=len(sent),
        attainment=1 - sum(missed(s, objective_s) for s in sent) / len(sent),
        refused=sum(s.kind is Kind.SHED for s in sent),
        lost=sum(s.kind in (Kind.ERROR, Kind.WRONG) for s in sent),
        p50_s=float(np.median(answered)) if answered else float("nan"),
        core_seconds=core_seconds(requested, phase.begin_s, phase.end_s),
        cores_before=next((cores for at, cores in reversed(requested) if at <= phase.begin_s), 0.0),
        back_s=back,
        stays_s=stays,
        late_p99_s=float(np.quantile([s.sent_s - s.intended_s for s in sent], 0.99)),
    )


def missed(sample: Sample, objective_s: float) -> bool:
    """Whether a request was not answered in time, for whatever cause."""
    return sample.kind is not Kind.OK or sample.latency_s > objective_s


def core_seconds(requested: Sequence[tuple[float, float]], begin_s: float, end_s: float) -> float:
    """The integral of cores over time."""
    ends = [*(at for at, _ in requested[1:]), end_s]
    pieces = zip(requested, ends, strict=True)
    return sum(cores * max(0.0, min(end, end_s) - max(at, begin_s)) for (at, cores), end in pieces)


def recovery(
    samples: Sequence[Sample], objective_s: float, step_s: float, end_s: float
) -> tuple[float | None, float | None]:
    """Seconds from the step until 99 % of the next `BACK_S` seconds' requests are in time: first, and for good."""
    ordered = sorted(samples, key=lambda s: s.intended_s)
    times = [s.intended_s for s in ordered]
    before = [0, *itertools.accumulate(int(missed(s, objective_s)) for s in ordered)]

    def fine(at: float) -> bool:
        low, high = bisect.bisect_left(times, at), bisect.bisect_left(times, at + BACK_S)
        return before[high] - before[low] <= 0.01 * (high - low)

    grid = [float(at) for at in np.arange(step_s, end_s - BACK_S, GRID_S)]
    good = [fine(at) for at in grid]
    first = next((at - step_s for at, is_good in zip(grid, good, strict=True) if is_good), None)
    last_bad = max((index for index, is_good in enumerate(good) if not is_good), default=-1)
    return first, grid[last_bad + 1] - step_s if last_bad + 1 < len(grid) else None


def seconds(samples: Sequence[Sample], requested: Sequence[tuple[float, float]], objective_s: float) -> list[Second]:
    """Second by second."""
    last = int(max(s.intended_s for s in samples))
    found = []
    for at in range(last + 1):
        within = [s for s in samples if at <= s.intended_s < at + 1]
        late = sum(missed(s, objective_s) for s in within)
        found.append(Second(at_s=at, sent=len(within), missed=late, cores=core_seconds(requested, at, at + 1)))
    return found
