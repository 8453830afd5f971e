"""A worker, and what it does with the parts that it took: one run of the model, and each part's share of the outputs.

Runs on worker threads. Nothing escapes as an exception: an error is an outcome like another.
"""

import logging
from typing import TYPE_CHECKING, Any, Final

from corefit_core.errors import CorefitError
from corefit_runtime.jobs import Job, Outputs, Part, joined_feeds, split_outputs

if TYPE_CHECKING:
    import threading

log: Final = logging.getLogger(__name__)

Outcome = Outputs | Exception


class Worker:
    """One thread, and what the loop may see of it: since when it runs, and until when it is expected to."""

    __slots__ = ("since_s", "thread", "until_s")

    def __init__(self) -> None:
        self.thread: threading.Thread | None = None
        self.since_s = 0.0
        self.until_s = 0.0


def run(parts: list[Part]) -> list[Outcome]:
    """The outcome of each part. Where a batch of several fails, each is run alone: one may be the culprit."""
    if len(parts) == 1:
        return [_attempt(parts[0])]
    job = parts[0].job
    try:
        outputs = job.model.engine.run(job.outputs, joined_feeds(parts))
    except Exception:  # noqa: BLE001 - whatever it was, each of them gets its own answer
        return [_attempt(part) for part in parts]
    return list(split_outputs(outputs, parts))


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


def _attempt(part: Part) -> Outcome:
    job = part.job
    try:
        return job.model.engine.run(job.outputs, part.feeds())
    except CorefitError as error:
        return error
    except Exception as error:
        log.exception("a run failed")
        return error
