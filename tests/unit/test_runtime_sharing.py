"""Runs that requests share: an answer is cut out only where nothing contradicts that rows are independent."""

from collections.abc import Callable
from typing import Any, cast

import numpy as np
import pytest
from unit.test_runtime_pool import Bench, FakeModel, limits

from corefit_runtime.calibration.calibrate import Findings
from corefit_runtime.memory.outputs import OutputMemory
from corefit_runtime.pool.model import CHECKED_AT_FIRST, CHECKED_EVERY, CHECKED_FIRST
from corefit_runtime.serving import loading


class Filter:
    """A model that does something to rows that it should not; as one whose graph can't show it."""

    inputs = outputs = ()
    memory = OutputMemory()

    def __init__(self, change: Callable[[Any], Any], after: int = 0) -> None:
        self.change = change
        self.after = after
        self.batches: list[int] = []

    def run(self, _names: Any, feeds: Any) -> Any:
        x = feeds["x"]
        self.batches.append(len(x))
        return [self.change(x) if len(self.batches) > self.after else x]


def dropped(x: Any) -> Any:
    return x[x[:, 0] != 3]


def shifted(x: Any) -> Any:
    """As many rows as came, but those of 3 are left out and the end is filled up."""
    kept = dropped(x)
    return np.concatenate([kept, np.zeros((len(x) - len(kept), x.shape[1]))])


def ordered(x: Any) -> Any:
    return np.sort(x, axis=0)[::-1]


def normalised(x: Any) -> Any:
    return x - x.max(axis=0, keepdims=True)


def summed(x: Any) -> Any:
    return x.sum()


CHANGES = [dropped, shifted, ordered, normalised, summed]


def alone(change: Callable[[Any], Any], value: float, rows: int = 1) -> Any:
    return change(np.full((rows, 1), value))


@pytest.mark.parametrize("change", CHANGES)
async def test_no_request_gets_the_answer_of_another(change: Callable[[Any], Any]) -> None:
    """141 of 320 answers were another client's, with status 200."""
    bench = Bench(limits(workers=1, chunk=0))
    bench.model = FakeModel(cast("Any", Filter(change)))
    said: list[str] = []
    bench.model.on_contradiction = said.append
    for key in range(12):
        bench.submit(key, 1, float(key % 5))
    await bench.settled()
    for key in range(12):
        assert np.array_equal(bench.answers[key][0], alone(change, float(key % 5))), key
    assert not bench.model.rows_independent
    assert len(said) == 1
    assert bench.meter.failed == 0
    await bench.pool.close()


@pytest.mark.parametrize("change", CHANGES)
async def test_a_request_is_not_answered_by_parts_that_know_of_each_other(change: Callable[[Any], Any]) -> None:
    bench = Bench(limits(workers=2, chunk=3, batch=0))
    bench.model = FakeModel(cast("Any", Filter(change)))
    x = np.arange(10.0).reshape(10, 1)
    job = bench.submit(0, 10)
    job.feeds["x"][:] = x
    await bench.settled()
    assert np.array_equal(bench.answers[0][0], change(x))
    assert bench.meter.completed == 1
    await bench.pool.close()


async def test_what_was_shown_once_stays_so_through_a_new_plan() -> None:
    bench = Bench(limits(workers=1))
    bench.model.contradicted("seen")
    bench.model.allow_sharing(True)
    assert not bench.model.rows_independent
    await bench.pool.close()


async def test_a_model_that_changes_its_mind_is_found_in_service() -> None:
    """Its first answers are right: of the later runs one of so many is checked."""
    bench = Bench(limits(workers=1, chunk=0, batch=2))
    bench.model = FakeModel(cast("Any", Filter(ordered, after=3 * CHECKED_FIRST)))
    for round_ in range(CHECKED_FIRST + 2 * CHECKED_EVERY):
        bench.submit(2 * round_, 1, 1.0)
        bench.submit(2 * round_ + 1, 1, 2.0)
        await bench.settled()
    assert not bench.model.rows_independent
    await bench.pool.close()


def test_the_check_costs_few_runs() -> None:
    model = FakeModel()
    due = [model.checks_due() for _ in range(CHECKED_FIRST + 10 * CHECKED_EVERY)]
    assert sum(due[:CHECKED_FIRST]) == CHECKED_FIRST * CHECKED_AT_FIRST
    assert sum(due[CHECKED_FIRST:]) == 10


def test_findings_of_an_earlier_start_join_nothing_that_is_not_proved() -> None:
    """Whoever could write to the model's folder could turn joining on by a file."""
    kept = Findings(rows_independent=True, why="kept")
    found = loading._as_proved(kept, "the graph may mix the rows of y")
    assert (found.rows_independent, found.why) == (False, "the graph may mix the rows of y")
    assert loading._as_proved(kept, "") == kept
