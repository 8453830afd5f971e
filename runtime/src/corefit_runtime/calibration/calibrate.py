"""Measures how long runs of a model take, before it serves. Whether rows are independent: `row_independence`.

Blocking, on samples or made-up inputs, within a time that is given. Decides nothing, least of all whether the model is
served: the findings go to sizing and batching.
"""

import logging
import time
from collections.abc import Callable
from typing import Final

import msgspec

from corefit_core import batching
from corefit_core.batching import Line
from corefit_core.report import ServiceTime
from corefit_runtime.calibration.row_independence import ROWS as COUPLED
from corefit_runtime.calibration.row_independence import row_independence
from corefit_runtime.calibration.synthetic_inputs import Inputs, elements
from corefit_runtime.engine.types import Engine, Threads
from corefit_runtime.tensors.tensor_spec import Tensors

log: Final = logging.getLogger(__name__)
GUESSES: Final = (16, 1, 32, 224)
"""What a free dimension other than the leading one may be, tried in turn until the model runs."""
ROWS: Final = (4, 16, 64)
"""Beside the one of the warm-up."""
MOST_ELEMENTS: Final = 16 << 20
"""What is guessed, and what more rows add, ends here: 64 MiB in FP32. A video of four free dimensions would take 10 GB
at 224; what a model's own shape asks for is tried, whatever it is."""
RUNS: Final = 15
"""Of 15 the shortest is hit by no neighbour; fewer where runs are long, or agree."""
LEAST_RUNS: Final = 3
AGREE: Final = 1.05
"""Two that are within 5 % of each other and shorter than a third have not been disturbed: no more are needed. The third
may be the first run of so many rows, which allocates: it need not be made apart."""
LONG: Final = 2.0
"""Times the target of one run: more rows are never run at once, so that how long they take is of no use."""


TRIAL_S: Final = 30.0
"""Seconds after which a run on made-up inputs is given up: a Loop that waits for a condition may never end."""
NOT_MEASURED: Final = "not measured"


class Findings(msgspec.Struct, frozen=True, kw_only=True):
    """What was measured.

    Attributes:
        profile: service times by threads and rows.
        line: fitted to the rows on one thread; None when nothing could be run.
        row_elements: of all inputs of a row together, where it was measured; 0 where it wasn't.
        rows_independent: whether cutting and joining along the leading dimension leaves answers as they are.
        why: how that was found, in words.
        free_size: what stood for free dimensions.
    """

    profile: tuple[ServiceTime, ...] = ()
    line: Line | None = None
    row_elements: int = 0
    rows_independent: bool = False
    why: str = NOT_MEASURED
    free_size: int = GUESSES[0]


def warm_up(
    engine: Engine, samples: Tensors | None = None, *, made_up: bool = True, limit_s: float = TRIAL_S
) -> Findings:
    """The first runs: allocates, packs weights, and gives a first service time.

    A model that no such input fits is served all the same: the findings say so.

    Args:
        engine: of the model.
        samples: inputs that the user gave; tried before those that are made up.
        made_up: whether others may be.
        limit_s: seconds after which a run is given up.
    """
    failure = ""
    guesses: list[tuple[Tensors | None, int]] = [(None, size) for size in GUESSES] if made_up else []
    if samples:
        guesses.insert(0, (samples, GUESSES[0]))
    for given, size in guesses:
        inputs = Inputs(engine.inputs, size, given)
        if inputs.elements(1) > max(MOST_ELEMENTS, elements(engine.inputs, 1, 1)):
            continue
        feeds = inputs.of(1)
        try:
            engine.trial(feeds, limit_s)
            seconds = timed(engine, feeds, RUNS, 1.0)
        except Exception as error:  # noqa: BLE001 - any refusal means: try the next size
            failure = failure or _first_line(error)
            continue
        line = batching.fit([(1, seconds)])
        profile = (ServiceTime(threads=engine.threads.intra, rows=1, seconds=seconds),)
        return Findings(profile=profile, line=line, free_size=size, row_elements=inputs.elements(1))
    if not failure:
        return Findings(why=f"{NOT_MEASURED}: warming up is off")
    what = "neither the sample inputs nor a made-up input fit" if samples else "no made-up input fits"
    return Findings(why=f"{NOT_MEASURED}: {what} the model: {failure}")


def calibrate(
    engine: Engine,
    first: Findings,
    cores: int,
    budget_s: float,
    target_s: float = batching.CHUNK_TARGET_S,
    *,
    unproved: str = "",
    samples: Tensors | None = None,
) -> Findings:
    """Service times at 1 to `cores` threads and several row counts, and the check for coupled rows.

    What fails is not measured, and decides nothing else.

    Args:
        engine: on one thread, warm.
        first: of `warm_up`.
        cores: most threads that a run may get.
        budget_s: seconds after which no further measurement is begun.
        target_s: of one run of many rows.
        unproved: why the model's graph doesn't prove that rows are independent; empty when it does.
        samples: inputs that the user gave.
    """
    if first.line is None:
        return first
    begun = time.monotonic()
    until = begun + budget_s
    inputs = Inputs(engine.inputs, first.free_size, samples)
    independent, why = (False, unproved) if unproved else row_independence(engine, first.free_size, samples)
    by_rows = list(first.profile)
    if independent:
        row_s = (time.monotonic() - begun) / (2 * COUPLED)
        by_rows += _attempted(lambda: _by_rows(engine, inputs, first, until, LONG * target_s, row_s))
    by_threads = _attempted(lambda: _by_threads(engine.with_threads, inputs, 1, cores, until))
    return msgspec.structs.replace(
        first,
        profile=(*by_rows, *by_threads),
        line=batching.fit({p.rows: p.seconds for p in by_rows}.items()),
        rows_independent=independent,
        why=why,
    )


def _attempted(measure: Callable[[], list[ServiceTime]]) -> list[ServiceTime]:
    try:
        return measure()
    except Exception as error:  # noqa: BLE001 - inputs that don't suit a model say nothing against it
        log.info("calibration ends early: %s", _first_line(error))
        return []


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)[:300]


def unmeasured(findings: Findings, cores: int, objective_s: float) -> bool:
    """Whether runs are too long on every number of threads that was measured, and there are cores for twice as many."""
    times = _of_one_row(findings)
    return bool(times) and 2 * max(times) <= cores and min(times.values()) > objective_s


def widened(
    findings: Findings, wider: Callable[[Threads], Engine], inputs: Inputs, cores: int, budget_s: float
) -> Findings:
    """The findings, and the service times on more threads than they know.

    Args:
        findings: of `calibrate`.
        wider: makes a session of so many threads.
        inputs: what it is run on.
        cores: most threads that a run may get.
        budget_s: seconds after which no further measurement is begun.
    """
    most = max(_of_one_row(findings), default=1)
    points = _by_threads(wider, inputs, most, cores, time.monotonic() + budget_s)
    return msgspec.structs.replace(findings, profile=(*findings.profile, *points))


def _of_one_row(findings: Findings) -> dict[int, float]:
    return {point.threads: point.seconds for point in findings.profile if point.rows == 1}


def timed(engine: Engine, feeds: Tensors, runs: int, budget_s: float) -> float:
    """The shortest of up to `runs` runs, fewer when they are long or agree; at least two.

    The shortest, since neighbours only ever add: on a machine with ten runnable threads for two cores the median of an
    8 ms model was 18 ms, and the profile is kept for the next start. A run on one thread is timed by that thread's own
    CPU clock, which stands still while the quota is used up: by the wall, 4 rows of 10 ms took 95 on a quarter of a
    core. What is added while serving is measured there, and corrects the expectation run by run.
    """
    clock = time.thread_time if engine.threads.intra == 1 else time.perf_counter
    seconds: list[float] = []
    until = time.monotonic() + budget_s
    while len(seconds) < 2 or (len(seconds) < runs and not _agree(seconds) and time.monotonic() < until):
        start = clock()
        engine.run(None, feeds)
        seconds.append(clock() - start)
    return max(1e-7, min(seconds))


def _agree(seconds: list[float]) -> bool:
    shortest = sorted(seconds)[:2]
    return len(seconds) >= LEAST_RUNS and shortest[1] <= AGREE * shortest[0]


def _by_rows(  # noqa: PLR0917 - what is measured, and how long
    engine: Engine, inputs: Inputs, first: Findings, until: float, longest_s: float, row_s: float
) -> list[ServiceTime]:
    """Service times of more rows than the one of `first`; `row_s` is what a row takes by the wall, as seen before."""
    points = list(first.profile)
    took_s = LEAST_RUNS * row_s
    for rows in ROWS:
        begun = time.monotonic()
        left = until - begun
        if took_s * rows / points[-1].rows > left / 2 or _long(points, longest_s):
            break
        if inputs.elements(rows) > MOST_ELEMENTS:
            break
        seconds = timed(engine, inputs.of(rows), RUNS, left / 4)
        points.append(ServiceTime(threads=engine.threads.intra, rows=rows, seconds=seconds))
        took_s = time.monotonic() - begun
    return points[len(first.profile) :]


def _long(points: list[ServiceTime], longest_s: float) -> bool:
    """Whether more rows would tell nothing: a run is too long already, and it is its rows that make it so."""
    return len(points) > 1 and points[-1].seconds > longest_s and points[-1].seconds > 2 * points[0].seconds


def _by_threads(
    wider: Callable[[Threads], Engine], inputs: Inputs, measured: int, cores: int, until: float
) -> list[ServiceTime]:
    points: list[ServiceTime] = []
    threads = 2 * measured
    while threads <= cores and time.monotonic() < until:
        engine = wider(Threads(intra=threads))
        feeds = inputs.of(1)
        engine.run(None, feeds)
        seconds = timed(engine, feeds, RUNS, max(0.0, until - time.monotonic()) / 2)
        points.append(ServiceTime(threads=threads, rows=1, seconds=seconds))
        threads *= 2
    return points
