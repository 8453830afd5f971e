"""A worker, and what it does with the parts that it took: one run of the model, and each part's share of the outputs.

Runs on worker threads. Nothing escapes as an exception: an error is an outcome like another.

A run that is shared by requests, or that is of a part of one, is trusted only while nothing contradicts that rows are
independent: each output must have a row for each row of the input, and some runs are checked by another one
(`Model.checks_due`). After a contradiction each request is run alone, those of the contradicting run included.
"""

import logging
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from corefit_core.errors import CorefitError, TooLarge
from corefit_runtime import coupling
from corefit_runtime.jobs import Job, Outputs, Part, joined_feeds, split_outputs

if TYPE_CHECKING:
    import threading

log: Final = logging.getLogger(__name__)

Outcome = Outputs | Exception
TRIES: Final = 50
"""Of a run that finds no memory while others run: each comes after a run of theirs has ended."""


class Worker:
    """One thread, and what the loop may see of it: since when it runs, and until when it is expected to.

    Attributes:
        starved: whether it waits for memory that others' runs have.
    """

    __slots__ = ("since_s", "starved", "thread", "until_s")

    def __init__(self) -> None:
        self.thread: threading.Thread | None = None
        self.since_s = 0.0
        self.until_s = 0.0
        self.starved = False


class AloneError(Exception):
    """The outcome of a part whose request is to be run again, whole."""


def run(parts: list[Part]) -> list[Outcome]:
    """The outcome of each part. Where a batch of several fails, each is run alone: one may be the culprit."""
    if len(parts) == 1 and parts[0].whole:
        return [attempt(parts[0])]
    job, model = parts[0].job, parts[0].job.model
    try:
        outputs = model.engine.run(job.outputs, joined_feeds(parts) if len(parts) > 1 else parts[0].feeds())
    except TooLarge:
        model.found_no_memory(sum(part.elements for part in parts))
        return [attempt(part) for part in parts]
    except Exception:  # noqa: BLE001 - whatever it was, each of them gets its own answer
        return _alone(parts)
    wrong = _wrong(outputs, parts)
    if wrong:
        model.contradicted(wrong)
    if not model.rows_independent:  # By this run, or by one beside it.
        return _alone(parts)
    return list(split_outputs(outputs, parts))


def _alone(parts: list[Part]) -> list[Outcome]:
    if len(parts) == 1:
        return [AloneError()]
    return [attempt(part) for part in parts]


def _wrong(outputs: Outputs, parts: list[Part]) -> str:
    """What of these outputs shows that rows are not independent; empty when nothing does."""
    rows = sum(part.rows for part in parts)
    for array in outputs:
        if array.shape[:1] != (rows,):
            return f"a run of {rows} rows gave an output of shape {list(array.shape)}"
    model = parts[0].job.model
    due = model.checks_due()
    for start, checked in _samples(parts, due) if due else ():
        try:
            again = model.engine.run(checked.job.outputs, checked.feeds())
        except Exception:  # noqa: BLE001 - whatever it was
            return "a request that failed alone was answered in a batch"
        shares = [array[start : start + checked.rows] for array in outputs]
        changed = coupling.compared([f"output {i}" for i in range(len(outputs))], shares, again)
        if changed:
            return changed
    return ""


def _samples(parts: list[Part], count: int) -> Iterator[tuple[int, Part]]:
    """What is run again, up to so many requests, or rows of a part, each with its first row in the batch.

    From the last on, since rows that are dropped or added before it move it.
    """
    stop = sum(part.rows for part in parts)
    if len(parts) > 1:
        for part in parts[: -count - 1 : -1]:
            stop -= part.rows
            yield stop, part
        return
    [part] = parts
    for row in range(stop - 1, max(-1, stop - 1 - count), -1):
        at = part.start + row
        yield row, Part(part.job, part.index, at, at + 1, whole=False, cost_s=0.0)


def answer(job: Job) -> Any:
    """The job's answer: its first error, or what `finish` makes of its outputs."""
    failed = next((result for result in job.results if isinstance(result, Exception)), None)
    if failed is not None:
        return failed
    try:
        return job.finish(job.assembled())
    except CorefitError as error:
        return error
    except Exception as error:
        log.exception("an answer could not be made")
        return error


def _in_halves(part: Part, error: TooLarge) -> Outcome:
    outcomes = []
    for half in part.halves():
        outcome = attempt(half)
        if isinstance(outcome, Exception):
            return outcome
        if any(array.shape[:1] != (half.rows,) for array in outcome):
            shapes = [list(array.shape) for array in outcome]
            part.job.model.contradicted(f"a run of {half.rows} rows gave outputs of the shapes {shapes}")
            return error
        outcomes.append(outcome)
    return [np.concatenate(pieces) for pieces in zip(*outcomes, strict=True)]


def again(part: Part, refusal: TooLarge, others_run: Callable[[], bool], wait: Callable[[], None]) -> Outcome:
    """The outcome of a part that found no memory while others ran, once there is more: when they have ended at last.

    Args:
        part: what to run.
        refusal: what came of it before.
        others_run: whether other workers run the model.
        wait: returns when one of them has ended its run, or after a while.
    """
    outcome: Outcome = refusal
    for _ in range(TRIES):
        if part.job.closed:
            break
        alone = not others_run()
        outcome = attempt(part)
        if alone or not isinstance(outcome, TooLarge):
            break
        wait()
    return outcome


def attempt(part: Part) -> Outcome:
    """The outcome of a part that is run by itself; in halves, and these in halves, where it finds no memory."""
    job = part.job
    try:
        return job.model.engine.run(job.outputs, part.feeds())
    except TooLarge as error:
        if part.rows < 2 or not job.model.rows_independent:
            return error
        job.model.found_no_memory(part.elements)
        return _in_halves(part, error)
    except CorefitError as error:
        return error
    except Exception as error:
        log.exception("a run failed")
        return error
