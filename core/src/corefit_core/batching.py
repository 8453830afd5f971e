"""How large one run of the model should be: cutting large requests into chunks, joining small ones into batches.

Pure arithmetic on the fitted t(n) = a + b * n, seconds for a run of n rows. Whether a model *may* be cut or
joined (whether its rows are independent) is measured by the runtime, never assumed here.
"""

import math
from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from corefit_core.errors import InvalidInput

CHUNK_TARGET_S: Final = 0.010
"""Seconds of one run: what a single-row request waits behind a large one, and long beside a dispatch (~30 us)."""
MIN_CHUNK_EFFICIENCY: Final = 0.5
"""At least half of a chunk's time goes into its rows; else cutting would double what the large request costs."""
MIN_GAIN: Final = 1.1
"""Joining must raise throughput by a tenth: below that the copies into and out of the batch eat the gain."""
SATURATION: Final = 0.9
"""A batch stops growing at nine tenths of the throughput that an endless batch would have: the rest is latency."""
MAX_BATCH_ROWS: Final = 256
"""Where b is too small to measure the formulas have no end; past this a batch costs memory."""


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """t(n) = a + b * n: seconds a run costs in itself, and seconds for each row."""

    a: float
    b: float

    def at(self, rows: float) -> float:
        """Seconds for a run of `rows` rows; of larger ones, for as many as have the same elements."""
        return self.a + self.b * rows

    def per_row(self, rows: int) -> float:
        """Seconds that each row costs in a run of `rows` rows."""
        return self.at(rows) / rows


def fit(points: Iterable[tuple[int, float]]) -> Line:
    """The line through measured (rows, seconds): least squares of the relative error, neither part negative.

    Relative, because a run of 64 rows would otherwise decide on the intercept alone. One point gives a line
    through the origin's side that is safe for both uses: half of the time is the run's, half is the row's.

    Raises:
        InvalidInput: no point, or one that isn't positive.
    """
    measured = sorted(points)
    if not measured or measured[0][0] < 1 or any(not s > 0 or math.isinf(s) for _, s in measured):
        raise InvalidInput(f"a fit needs positive rows and seconds, not {measured}")
    if measured[0][0] == measured[-1][0]:
        mean = sum(s for _, s in measured) / len(measured)
        return Line(a=mean / 2, b=mean / 2 / measured[0][0])
    return _clamped(measured)


def chunk_rows(line: Line, target_s: float = CHUNK_TARGET_S) -> int:
    """Rows of one chunk: as many as take `target_s`, at least one; 0 (no cutting) where rows cost nothing."""
    if line.b <= 0:
        return 0
    fitting = math.floor((target_s - line.a) / line.b)
    efficient = math.ceil(MIN_CHUNK_EFFICIENCY / (1 - MIN_CHUNK_EFFICIENCY) * line.a / line.b)
    return max(1, fitting, efficient)


def batch_rows(line: Line, objective_s: float, target_s: float = CHUNK_TARGET_S) -> int:
    """Rows up to which small requests are joined; 0 where joining doesn't pay.

    A request waits at worst for the batch that is running and then for its own, so two batches must fit into
    the objective; and no batch is longer than a chunk, for the sake of those that wait behind it.
    """
    longest_s = min(target_s, objective_s / 2)
    if line.at(2) > longest_s:
        return 0
    rows = MAX_BATCH_ROWS
    if line.b > 0:
        fitting = math.floor((longest_s - line.a) / line.b)
        saturated = math.ceil(SATURATION / (1 - SATURATION) * line.a / line.b)
        rows = min(MAX_BATCH_ROWS, fitting, saturated)
    return rows if rows >= 2 and line.per_row(1) >= MIN_GAIN * line.per_row(rows) else 0


def spans(rows: int, chunk: int) -> list[tuple[int, int]]:
    """The [start, stop) of each chunk: as few as possible, equal to within a row; one span when `chunk` is 0."""
    if chunk <= 0 or rows <= chunk:
        return [(0, rows)]
    parts = -(-rows // chunk)
    return [(rows * i // parts, rows * (i + 1) // parts) for i in range(parts)]


def due_times(arrived_s: float, parts: int, objective_s: float, deadline_s: float | None) -> list[float]:
    """When each chunk of a request is due, in order: what the earliest-deadline-first queue sorts by.

    A request of k chunks has k objectives, one for each: so its second chunk is due after the single rows that
    come meanwhile, and they never stand behind the whole of it; nor can they starve it, since its time comes.
    An earlier deadline of its own is spread over the chunks alike; a later one changes nothing.
    """
    step = objective_s if deadline_s is None else min(objective_s, max(0.0, deadline_s - arrived_s) / parts)
    return [arrived_s + step * (i + 1) for i in range(parts)]


def _clamped(points: Sequence[tuple[int, float]]) -> Line:
    # Weights 1/s^2 make the residual relative.
    w = [1 / (s * s) for _, s in points]
    total = sum(w)
    mean_n = sum(wi * n for wi, (n, _) in zip(w, points, strict=True)) / total
    mean_s = sum(wi * s for wi, (_, s) in zip(w, points, strict=True)) / total
    spread = sum(wi * (n - mean_n) ** 2 for wi, (n, _) in zip(w, points, strict=True))
    slope = sum(wi * (n - mean_n) * (s - mean_s) for wi, (n, s) in zip(w, points, strict=True)) / spread
    if slope <= 0:
        return Line(a=mean_s, b=0.0)
    intercept = mean_s - slope * mean_n
    if intercept < 0:
        return Line(
            a=0.0,
            b=sum(wi * n * s for wi, (n, s) in zip(w, points, strict=True))
            / sum(wi * n * n for wi, (n, _) in zip(w, points, strict=True)),
        )
    return Line(a=intercept, b=slope)
