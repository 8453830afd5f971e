"""One admitted request as the pool sees it: its tensors, its parts, its deadline, what to do with the answer.

Knows neither protocol nor transport: what the answer becomes is the caller's function.
"""

import threading
from collections.abc import Callable
from typing import Any

import numpy as np

from corefit_runtime.pool.model import Model
from corefit_runtime.tensors.datatypes import Array

Outputs = list[Array]


class Job:
    """One request on its way through the pool.

    Args:
        model: what it runs on.
        feeds: the inputs by name.
        outputs: names of the outputs asked for, in order; None for all.
        rows: size of the leading dimension that all inputs share; 0 when there is none.
        elements: of all inputs together.
        arrived_s: monotonic, when its first byte was seen.
        deadline_s: monotonic, when the answer is worthless; None when the client named none.
        finish: turns outputs into the answer; runs on the worker's thread.
        deliver: takes the answer or the error; runs on the event loop, exactly once, never after `cancel`.

    Attributes:
        signature: what those that it may be joined with have in common; None when it may not be.
        batch: rows of a run that it may be joined into.
        weight: elements of one of its rows over those of a row that was measured.
        placed: the outputs of all of it, where parts of it are run: each puts its rows there.
    """

    __slots__ = (
        "__weakref__",
        "arrived_s",
        "batch",
        "busy_s",
        "closed",
        "computed_s",
        "cost_s",
        "deadline_s",
        "deliver",
        "due_s",
        "elements",
        "feeds",
        "finish",
        "left",
        "model",
        "outputs",
        "placed",
        "placing",
        "queued",
        "queued_s",
        "results",
        "rows",
        "signature",
        "started_s",
        "waiting",
        "weight",
    )

    def __init__(
        self,
        *,
        model: Model,
        feeds: dict[str, Array],
        outputs: list[str] | None,
        rows: int,
        elements: int,
        arrived_s: float,
        deadline_s: float | None,
        finish: Callable[[Outputs], Any],
        deliver: Callable[[Any], None],
    ) -> None:
        self.model = model
        self.feeds = feeds
        self.outputs = outputs
        self.rows = rows
        self.elements = elements
        self.arrived_s = arrived_s
        self.deadline_s = deadline_s
        self.finish = finish
        self.deliver = deliver
        self.signature: object = None
        self.batch = 0
        self.weight = 1.0
        self.due_s = arrived_s
        self.started_s = 0.0
        self.busy_s = 0.0
        self.computed_s = 0.0
        self.cost_s = 0.0
        self.queued = 0
        self.queued_s = 0.0
        self.waiting = False
        self.closed = False
        self.left = 1
        self.placed: Outputs | None = None
        self.placing = threading.Lock()
        self.results: list[Outputs | Exception | None] = [None]

    def let_go(self) -> None:
        """Nobody will run or answer it: what it holds goes, though the queue may hold it for a while."""
        self.feeds = {}
        self.drop_outputs()
        self.finish = self.deliver = _nothing

    def whole(self) -> "Part":
        """All of it as one part."""
        return Part(self, 0, 0, self.rows, whole=True, cost_s=0.0)

    def joins(self) -> object:
        """Requests of equal value may run as one: same model, outputs, names, types and trailing shapes."""
        return (
            id(self.model),
            None if self.outputs is None else tuple(self.outputs),
            tuple((name, array.dtype.num, array.shape[1:]) for name, array in self.feeds.items()),
        )

    def assembled(self) -> Outputs:
        """The outputs of all parts, once: the job holds them no longer."""
        placed, [first, *others] = self.placed, self.results
        self.drop_outputs()
        # What a try that failed has placed is not all of it: what counts is the result, of which `placed` may be made.
        return placed if others and placed is not None else first if isinstance(first, list) else []

    def drop_outputs(self) -> None:
        """What has come of it so far is not wanted any more."""
        self.placed, self.results = None, []


def _nothing(_: object) -> None:
    """Of a job that has let go."""


class Part:
    """Rows [start, stop) of a job: what one run computes, alone or with others."""

    __slots__ = ("cost_s", "index", "job", "start", "stop", "whole")

    def __init__(self, job: Job, index: int, start: int, stop: int, *, whole: bool, cost_s: float) -> None:
        self.job = job
        self.index = index
        self.start = start
        self.stop = stop
        self.whole = whole
        self.cost_s = cost_s

    @property
    def rows(self) -> int:
        """How many rows it has."""
        return self.stop - self.start

    @property
    def elements(self) -> int:
        """Of its inputs together."""
        rows = self.job.rows
        return self.job.elements if self.whole or rows == 0 else self.job.elements * self.rows // rows

    def halves(self) -> "tuple[Part, Part]":
        """The part in two; it has two rows at least."""
        middle = self.start + self.rows // 2
        first = Part(self.job, self.index, self.start, middle, whole=False, cost_s=self.cost_s / 2)
        return first, Part(self.job, self.index, middle, self.stop, whole=False, cost_s=self.cost_s / 2)

    def feeds(self) -> dict[str, Array]:
        """Its share of the inputs: views, not copies."""
        if self.whole:
            return self.job.feeds
        return {name: array[self.start : self.stop] for name, array in self.job.feeds.items()}

    def place(self, outputs: Outputs) -> Outputs:
        """Puts its outputs among those of the job, for which the first part makes room; returns them there.

        Raises:
            CorefitError: there is no memory for them.
            ValueError: those of other parts are of another shape.
        """
        job = self.job
        with job.placing:
            placed = job.placed = job.placed or job.model.engine.memory.room(outputs, self.rows, job.rows)
        own = [array[self.start : self.stop] for array in placed]
        if [array.shape for array in own] != [array.shape for array in outputs]:
            raise ValueError(f"parts of shapes {[array.shape for array in own]}, {[array.shape for array in outputs]}")
        for array, output, whole in zip(own, outputs, placed, strict=True):
            job.model.engine.memory.placed(output, whole)
            array[...] = output
        return own


def joined_feeds(parts: list[Part]) -> dict[str, Array]:
    """The inputs of several whole requests as one batch."""
    first = parts[0].job.feeds
    return {name: np.concatenate([part.job.feeds[name] for part in parts]) for name in first}


def split_outputs(outputs: Outputs, parts: list[Part]) -> list[Outputs]:
    """The batch's outputs for each of its requests again: views. Each output has a row for each row of the batch."""
    shares, start = [], 0
    for part in parts:
        stop = start + part.rows
        shares.append([array[start:stop] for array in outputs])
        start = stop
    return shares
