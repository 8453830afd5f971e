"""The limits of the queue and of the size of runs: from the plan, corrected by what runs take.

Arithmetic only; knows no requests, threads or clocks.
"""

from typing import Final

from corefit_core.batching import CHUNK_TARGET_S, Line, batch_rows, chunk_rows

RESIZE_AT: Final = 0.1
"""Chunk and batch are worked out anew when runs take a tenth more or less than when they were last."""
MAX_WEIGHTS: Final = 64
"""Different weights of rows whose chunk and batch are remembered."""


class Limits:
    """What the queue goes by: the part of the plan that concerns it.

    Args:
        workers: worker threads.
        depth: requests that may wait.
        objective_s: the latency objective.
        line: the expected time of a run.
        chunk: rows of one run of a large request; 0: never cut.
        batch: rows up to which requests are joined; 0: never.
        row_elements: of all inputs of a row together, of which `line` is; 0: unknown, a row counts as a row.
        target_s: of one run.
        assumed: whether `line` is assumed, not measured.
        auto_chunk, auto_batch: whether chunk and batch follow from what runs take; else they stay.
    """

    def __init__(
        self,
        *,
        workers: int,
        depth: int,
        objective_s: float,
        line: Line,
        chunk: int,
        batch: int,
        row_elements: int = 0,
        target_s: float = CHUNK_TARGET_S,
        assumed: bool = False,
        auto_chunk: bool = False,
        auto_batch: bool = False,
    ) -> None:
        self.workers = workers
        self.depth = depth
        self.objective_s = objective_s
        self.line = line
        self.chunk = chunk
        self.batch = batch
        self.row_elements = row_elements
        self.target_s = target_s
        self.assumed = assumed
        self.auto_chunk = auto_chunk
        self.auto_batch = auto_batch
        # A row costs less in a batch: the queue drains at the batch's rate, not at that of single requests.
        self.row_s = line.per_row(batch) if batch else line.b

    def weight(self, rows: int, elements: int) -> float:
        """How many of the rows that were measured have as many elements as one of these; without rows, as all."""
        if self.row_elements <= 0 or elements <= 0:
            return 1.0
        return elements / (max(1, rows) * self.row_elements)


class Sizer:
    """How many rows a run should have, by what runs take now: chunk and batch of rows of any weight."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._drift = 1.0
        self._known: dict[float, tuple[int, int]] = {}

    def sizes(self, weight: float, drift: float) -> tuple[int, int]:
        """Chunk and batch, in rows of such a weight, where runs take `drift` times what was measured."""
        if abs(drift - self._drift) > RESIZE_AT * self._drift:
            self._drift = drift
            self._known.clear()
        found = self._known.get(weight)
        if found is None:
            if len(self._known) >= MAX_WEIGHTS:
                self._known.clear()
            found = self._known[weight] = self._computed(weight)
        return found

    def _computed(self, weight: float) -> tuple[int, int]:
        limits, drift = self._limits, self._drift
        line = Line(a=limits.line.a * drift, b=limits.line.b * drift * weight)
        chunk = chunk_rows(line, limits.target_s) if limits.auto_chunk else limits.chunk
        batch = batch_rows(line, limits.objective_s, limits.target_s) if limits.auto_batch else limits.batch
        return chunk, batch
