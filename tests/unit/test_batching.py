import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corefit_core import batching
from corefit_core.batching import Line
from corefit_core.errors import InvalidInput

seconds = st.floats(min_value=1e-6, max_value=10)
lines = st.builds(Line, a=st.floats(min_value=0, max_value=1), b=st.floats(min_value=1e-7, max_value=1))


@given(rows=st.integers(0, 10_000), chunk=st.integers(0, 500))
def test_spans_cover_every_row_once_in_order(rows: int, chunk: int) -> None:
    spans = batching.spans(rows, chunk)
    assert spans[0][0] == 0
    assert spans[-1][1] == rows
    assert all(a[1] == b[0] for a, b in itertools.pairwise(spans))
    if chunk and rows:
        sizes = [stop - start for start, stop in spans]
        assert max(sizes) <= max(chunk, 1)
        assert max(sizes) - min(sizes) <= 1
        assert len(spans) == max(1, math.ceil(rows / chunk))


@given(a=st.floats(1e-6, 0.1), b=st.floats(1e-6, 0.1))
def test_a_fit_finds_the_line_that_the_points_lie_on(a: float, b: float) -> None:
    line = batching.fit([(n, a + b * n) for n in (1, 4, 16, 64)])
    for rows in (1, 16, 64):
        assert line.at(rows) == pytest.approx(a + b * rows, rel=1e-6)


@given(points=st.lists(st.tuples(st.integers(1, 512), seconds), min_size=1, max_size=8))
def test_a_fit_is_never_negative(points: list[tuple[int, float]]) -> None:
    line = batching.fit(points)
    assert line.a >= 0
    assert line.b >= 0
    assert line.at(1) > 0


@pytest.mark.parametrize("points", [[], [(0, 1.0)], [(1, 0.0)], [(1, math.nan)], [(1, math.inf)]])
def test_a_fit_refuses_what_is_no_measurement(points: list[tuple[int, float]]) -> None:
    with pytest.raises(InvalidInput):
        batching.fit(points)


@given(line=lines, target=st.floats(1e-4, 1))
def test_a_chunk_keeps_to_its_target_or_to_its_efficiency(line: Line, target: float) -> None:
    rows = batching.chunk_rows(line, target)
    assert rows >= 1
    within = line.at(rows) <= target * (1 + 1e-9)
    overhead = line.a >= line.b * (rows - 1) * (1 - 1e-9)
    assert rows == 1 or within or overhead


def test_rows_that_cost_nothing_are_not_cut() -> None:
    assert batching.chunk_rows(Line(a=0.01, b=0.0)) == 0


@given(line=lines, objective=st.floats(1e-3, 1))
def test_a_batch_pays_and_fits_twice_into_the_objective(line: Line, objective: float) -> None:
    rows = batching.batch_rows(line, objective)
    assert rows == 0 or rows >= 2
    if rows:
        assert 2 * line.at(rows) <= objective * (1 + 1e-9)
        assert line.per_row(1) >= batching.MIN_GAIN * line.per_row(rows)


def test_joining_is_for_models_whose_run_costs_more_than_its_rows() -> None:
    assert batching.batch_rows(Line(a=10e-6, b=0.2e-6), 0.1) == batching.MAX_BATCH_ROWS
    assert batching.batch_rows(Line(a=1e-5, b=5e-3), 0.1) == 0


@given(parts=st.integers(1, 60), objective=st.floats(1e-3, 1), own=st.none() | st.floats(0, 10))
def test_chunks_are_due_in_order_and_the_last_by_the_deadline(parts: int, objective: float, own: float | None) -> None:
    due = batching.due_times(5.0, parts, objective, None if own is None else 5.0 + own)
    assert due == sorted(due)
    assert len(due) == parts
    assert due[-1] == pytest.approx(5.0 + (objective * parts if own is None else min(objective * parts, own)))


def test_a_single_row_is_due_before_the_later_chunks_of_an_older_batch() -> None:
    batch = batching.due_times(0.0, 50, 0.1, None)
    single = batching.due_times(0.001, 1, 0.1, None)
    assert [due for due in batch if due < single[0]] == batch[:1]
