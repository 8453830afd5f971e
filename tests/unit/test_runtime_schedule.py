from typing import Any, cast

import numpy as np
import pytest

from corefit_core.batching import Line
from corefit_core.errors import Shed
from corefit_runtime.jobs import Job, Model
from corefit_runtime.schedule import Limits, Schedule


class FakeModel:
    rows_independent = True


MODEL = cast("Model", FakeModel())


def job(rows: int = 1, arrived: float = 0.0, deadline: float | None = None, width: int = 2) -> Job:
    return Job(
        model=MODEL,
        feeds={"x": np.zeros((rows, width), np.float32)},
        outputs=["y"],
        rows=rows,
        arrived_s=arrived,
        deadline_s=deadline,
        finish=lambda outputs: outputs,
        deliver=lambda answer: None,
    )


def limits(**changes: Any) -> Limits:
    given = {"workers": 1, "depth": 10, "objective_s": 0.1, "line": Line(a=0.0, b=0.01), "chunk": 1, "batch": 0}
    return Limits(**{**given, **changes})


def test_single_rows_go_before_all_but_the_first_chunk_of_an_older_batch() -> None:
    schedule = Schedule(limits(depth=100))
    batch, single = job(rows=50), job(arrived=0.001)
    schedule.admit(batch, 0.0, 0.0)
    schedule.admit(single, 0.001, 0.0)
    order = [schedule.pop() for _ in range(3)]
    assert [part.job is single for part in order if part] == [False, True, False]


def test_an_earlier_deadline_goes_first() -> None:
    schedule = Schedule(limits())
    late, early = job(deadline=5.0), job(deadline=1.0)
    schedule.admit(late, 0.0, 0.0)
    schedule.admit(early, 0.0, 0.0)
    first = schedule.pop()
    assert first is not None
    assert first.job is early


def test_what_could_not_be_answered_in_time_is_shed_with_the_time_to_come_back() -> None:
    schedule = Schedule(limits())
    for _ in range(8):
        schedule.admit(job(), 0.0, 0.0)
    with pytest.raises(Shed) as shed:
        schedule.admit(job(), 0.0, 0.01)
    assert shed.value.cause == "deadline"
    assert shed.value.retry_after_s > 0


def test_a_full_queue_sheds_whatever_the_deadline() -> None:
    schedule = Schedule(limits(depth=2))
    schedule.admit(job(deadline=100), 0.0, 0.0)
    schedule.admit(job(deadline=100), 0.0, 0.0)
    with pytest.raises(Shed, match="2 requests wait already") as shed:
        schedule.admit(job(deadline=100), 0.0, 0.0)
    assert shed.value.cause == "queue-full"


def test_an_empty_queue_takes_even_what_is_longer_than_the_objective() -> None:
    schedule = Schedule(limits(line=Line(a=1.0, b=0.0)))
    assert schedule.admit(job(), 0.0, 0.9) == 1


def test_a_dropped_job_leaves_no_trace_in_the_sums() -> None:
    schedule = Schedule(limits())
    jobs = [job(rows=n) for n in (1, 5, 2)]
    for each in jobs:
        schedule.admit(each, 0.0, 0.0)
    schedule.pop()
    for each in jobs:
        schedule.close(each)
        schedule.close(each)
    assert (schedule.waiting, schedule.open) == (0, 0)
    assert schedule.wait_s(0.0) == pytest.approx(0.0, abs=1e-9)
    assert schedule.pop() is None


def test_only_requests_of_the_same_form_join_and_only_up_to_the_batch() -> None:
    schedule = Schedule(limits(chunk=0, batch=3, depth=100))
    for each in (job(), job(), job(width=3), job()):
        schedule.admit(each, 0.0, 0.0)
    first = schedule.pop()
    assert first is not None
    assert schedule.pop_joinable(first, 2) is not None
    assert schedule.pop_joinable(first, 1) is None  # The next has another width, and nobody overtakes it.


def test_runs_that_take_longer_than_the_profile_says_correct_it() -> None:
    schedule = Schedule(limits())
    for _ in range(200):
        schedule.learn(1, 0.02)
    assert schedule.expected_s(1) == pytest.approx(0.02, rel=0.01)
    schedule.learn(1, 1e9)
    assert schedule.expected_s(1) < 0.05


def test_a_failed_part_ends_its_job_and_the_others_are_skipped() -> None:
    schedule = Schedule(limits(depth=100))
    batch = job(rows=3)
    schedule.admit(batch, 0.0, 0.0)
    part = schedule.pop()
    assert part is not None
    assert schedule.settle(part, ValueError("x"))
    assert schedule.pop() is None
    assert schedule.open == 0
