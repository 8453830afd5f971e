"""What a worker does with the parts that it took: one run of the model, and each part's share of the outputs.

Runs on worker threads. Nothing escapes as an exception: an error is an outcome like another.

A run that is shared by requests, or that is of a part of one, is trusted only while nothing contradicts that rows are
independent: each output must have a row for each row of the input, and some runs are checked by another one
(`Model.checks_due`). After a contradiction each request is run alone, those of the contradicting run included.
"""

import logging
from collections.abc import Callable, Iterator
from typing import Any, Final, TypeVar

from corefit_core.errors import CorefitError, Shed, TooLarge
from corefit_runtime.pool.jobs import Job, Outputs, Part, joined_feeds, split_outputs
from corefit_runtime.rows import comparison

log: Final = logging.getLogger(__name__)

Outcome = Outputs | Exception
E = TypeVar("E", bound=Exception)
MIB: Final = 1 << 20
TRIES: Final = 50
"""Of a run that finds no memory while others run: each comes after a run of theirs has ended."""


class AloneError(Exception):
    """The outcome of a part whose request is to be run again, whole."""


class MemoryTakenError(Exception):
    """The outcome of a part whose run found no memory while others ran: it says nothing of the run's own size."""


Others = Callable[[], int | None]
"""How many runs other workers have begun; None while one of them is under way."""


def _nobody() -> int:
    return 0


class _Alone:
    """Whether a run has the memory for itself: no other worker runs the model from here on."""

    def __init__(self, others: Others) -> None:
        self._others = others
        self._begun = others()

    def __bool__(self) -> bool:
        return self._begun is not None and self._others() == self._begun


def run(parts: list[Part], others: Others = _nobody) -> list[Outcome]:
    """The outcome of each part. Where a batch of several fails, each is run alone: one may be the culprit.

    Args:
        parts: what to run at once.
        others: see `Others`. The outcome of a run that finds no memory is `MemoryTakenError` while they run.
    """
    if len(parts) == 1 and parts[0].whole:
        return [attempt(parts[0], others)]
    job, model, alone = parts[0].job, parts[0].job.model, _Alone(others)
    try:
        outputs = model.engine.run(job.outputs, joined_feeds(parts) if len(parts) > 1 else parts[0].feeds())
    except TooLarge as error:
        return _smaller(parts, bare(error), others) if alone else [MemoryTakenError() for _ in parts]
    except Exception:  # noqa: BLE001 - whatever it was, each of them gets its own answer
        return _each(parts, others)
    wrong = _wrong(outputs, parts)
    if wrong:
        model.contradicted(wrong)
    if not model.rows_independent:  # By this run, or by one beside it.
        return _each(parts, others)
    model.had_memory()
    return _kept(parts, outputs)


def _kept(parts: list[Part], outputs: Outputs) -> list[Outcome]:
    """The outcome of each part, from the outputs of the run that they share: as long as the client reads it."""
    [first, *others] = parts
    try:
        if not first.whole:
            return [first.place(outputs)]
        kept = first.job.model.engine.memory.kept(outputs)
        return [*split_outputs(kept, parts)] if others else [kept]
    except ValueError:
        return [AloneError()]
    except CorefitError as error:
        return [bare(error) for _ in parts]
    except Exception as error:
        log.exception("outputs could not be kept")
        return [bare(error) for _ in parts]


def _each(parts: list[Part], others: Others) -> list[Outcome]:
    """The outcome of each request's own run, which is to be made still where this is a part of one."""
    if len(parts) == 1:
        return [AloneError()]
    return [attempt(part, others) for part in parts]


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
        except TooLarge:  # Others have the memory at the moment: it shows nothing.
            continue
        except Exception:  # noqa: BLE001 - whatever it was
            return "a request that failed alone was answered in a batch"
        shares = [array[start : start + checked.rows] for array in outputs]
        changed = comparison.compared([f"output {i}" for i in range(len(outputs))], shares, again)
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


def bare(error: E) -> E:
    """The error without the frames that it came through, and without what it came from.

    They hold the request's tensors, and the request holds the error: in a circle, which the garbage collector may not
    come round to before there are many.
    """
    error.__traceback__ = error.__cause__ = error.__context__ = None
    return error


def answer(job: Job) -> Any:
    """The job's answer: its first error, or what `finish` makes of its outputs."""
    failed = next((result for result in job.results if isinstance(result, Exception)), None)
    if failed is not None:
        job.drop_outputs()
        return failed
    try:
        return job.finish(job.assembled())
    except CorefitError as error:
        return bare(error)
    except Exception as error:
        log.exception("an answer could not be made")
        return bare(error)


def _smaller(parts: list[Part], error: TooLarge, others: Others) -> list[Outcome]:
    if len(parts) == 1:
        return [_in_halves(parts[0], error, others)]
    parts[0].job.model.lacked_memory(sum(part.elements for part in parts))
    return [attempt(part, others) for part in parts]


def _in_halves(part: Part, error: TooLarge, others: Others) -> Outcome:
    """The outcome of a part that found no memory, from those of its halves; the error where it has none."""
    if part.rows < 2 or not part.job.model.rows_independent:
        return _afresh(part, others)
    part.job.model.lacked_memory(part.elements)
    failed = _failed_half(part, others)
    if failed is not None:
        if part.whole:
            part.job.placed = None
        # Rows are not independent after all, and all of them together find no memory?
        return error if isinstance(failed, AloneError) else failed
    placed = part.job.placed or []  # None where the client has gone meanwhile.
    return [array[part.start : part.stop] for array in placed]


def _failed_half(part: Part, others: Others) -> Exception | None:
    """Runs a part in halves, each of which is placed among the job's outputs; returns what the first failed with."""
    for half in part.halves():
        [outcome] = run([half], others)
        if isinstance(outcome, Exception):
            return outcome
    return None


def _afresh(part: Part, others: Others) -> Outcome:
    """The outcome of a part that found no memory, in an arena that smaller runs have not left in pieces."""
    alone = _Alone(others)
    try:
        outputs = part.job.model.engine.run_afresh(part.job.outputs, part.feeds())
    except TooLarge as error:
        return bare(error) if alone else MemoryTakenError()
    except Exception as error:  # noqa: BLE001 - whatever it was
        return bare(error)
    return _kept([part], outputs)[0]


def again(part: Part, others: Others, wait: Callable[[], None]) -> Outcome:
    """The outcome of a part that found no memory while others ran, once there is more: when they have ended at last.

    Args:
        part: what to run.
        others: see `Others`.
        wait: returns when one of them has ended its run, or after a while.
    """
    for _ in range(TRIES):
        if part.job.closed:
            return MemoryTakenError()
        [outcome] = run([part], others)
        if not isinstance(outcome, MemoryTakenError):
            return outcome
        wait()
    return Shed("the runs of other requests leave no memory for this one", cause="memory", retry_after_s=1.0)


def attempt(part: Part, others: Others = _nobody) -> Outcome:
    """The outcome of a part that is run by itself; in halves, and these in halves, where alone it finds no memory."""
    job, alone = part.job, _Alone(others)
    try:
        outputs = job.model.engine.run(job.outputs, part.feeds())
    except TooLarge as error:
        return _in_halves(part, bare(error), others) if alone else MemoryTakenError()
    except CorefitError as error:
        return bare(error)
    except Exception as error:
        log.exception("a run failed")
        return bare(error)
    job.model.had_memory()
    return _kept([part], outputs)[0]
