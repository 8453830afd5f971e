import itertools
import math

import numpy as np
import pytest
from hypothesis import assume, given
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


def test_runs_of_one_size_are_half_the_runs_and_half_the_rows() -> None:
    """Safe for both uses: neither cutting nor joining looks better than it can be."""
    assert batching.fit([(4, 0.2)]) == Line(a=0.1, b=0.025)
    assert batching.fit([(4, 0.1), (4, 0.3)]) == Line(a=0.1, b=0.025)


def test_a_run_without_rows_is_no_measurement_whatever_the_others() -> None:
    with pytest.raises(InvalidInput):
        batching.fit([(0, 1.0), (4, 1.0)])


measured = st.lists(st.tuples(st.integers(1, 64), st.floats(1e-4, 1)), min_size=2, max_size=8)


@given(measured)
def test_the_fit_is_the_least_squares_of_the_relative_errors(points: list[tuple[int, float]]) -> None:
    """As numpy finds it; where a part of it were negative, through the origin or level."""
    rows, times = (np.array(column, dtype=float) for column in zip(*points, strict=True))
    assume(len(set(rows)) > 1)
    slope, intercept = np.polyfit(rows, times, 1, w=1 / times)
    line = batching.fit(points)
    if slope > 1e-6 and intercept > 1e-6:
        assert (line.b, line.a) == pytest.approx((slope, intercept), rel=1e-3)
    elif intercept < -1e-6:
        (through,) = np.linalg.lstsq((rows / times)[:, None], np.ones(len(points)), rcond=None)[0]
        assert (line.a, line.b) == (0.0, pytest.approx(through, rel=1e-3))
    elif slope < -1e-6:
        assert (line.a, line.b) == (pytest.approx(np.average(times, weights=1 / times**2), rel=1e-3), 0.0)


def test_a_chunk_takes_ten_milliseconds_or_twice_what_a_run_costs_in_itself() -> None:
    assert batching.chunk_rows(Line(a=0.0, b=0.001)) == 10
    assert batching.chunk_rows(Line(a=0.1, b=0.01), 0.05) == 10
    assert batching.chunk_rows(Line(a=0.0, b=1.0), 0.05) == 1


def test_a_batch_ends_where_more_rows_no_longer_pay() -> None:
    """At nine tenths of the throughput without an end, which takes 9 a / b rows: 16.4 here."""
    assert batching.batch_rows(Line(a=0.001, b=0.00055), 1.0, 0.1) == 17


def test_a_batch_ends_at_half_of_the_objective_and_at_the_longest_run_and_at_256_rows() -> None:
    line = Line(a=0.001, b=0.0001)
    assert batching.batch_rows(line, 0.004, 0.1) == 10
    assert batching.batch_rows(line, 1.0, 0.002) == 10
    assert batching.batch_rows(line, 1.0) == 90
    assert batching.batch_rows(Line(a=0.001, b=1e-6), 1.0) == 256
    assert batching.batch_rows(Line(a=0.001, b=0.0), 1.0) == 256


def test_two_rows_that_just_fit_are_joined_and_two_that_do_not_are_not() -> None:
    assert batching.batch_rows(Line(a=0.5, b=0.25), 2.0, 1.0) == 2
    assert batching.batch_rows(Line(a=0.5, b=0.2501), 2.0, 1.0) == 0


def test_joining_that_gains_less_than_a_tenth_is_not_worth_its_copies() -> None:
    """A row by itself costs a + b; of 9 a / b joined ones each costs b / 0.9."""
    assert batching.batch_rows(Line(a=0.001, b=0.004), 1.0, 0.1) == 9 // 4 + 1
    assert batching.batch_rows(Line(a=0.001, b=0.01), 1.0, 0.1) == 0


def test_a_deadline_that_is_past_makes_all_chunks_due_at_once() -> None:
    assert batching.due_times(5.0, 3, 0.1, 4.0) == [5.0] * 3
