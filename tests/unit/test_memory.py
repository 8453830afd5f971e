"""How a pod's memory is divided."""

from hypothesis import given
from hypothesis import strategies as st

from corefit_core.memory import LEAST_BODIES, LEAST_RUNS, Shares, cut_to, shares

MIB = 1 << 20
BYTES = st.integers(0, 1 << 42)
FLOORS = 3 * (LEAST_RUNS + LEAST_BODIES)


@given(limit=BYTES, base=BYTES)
def test_runs_their_outputs_and_bodies_fit_together(limit: int, base: int) -> None:
    found = shares(limit, base)
    assert found.runs >= LEAST_RUNS
    assert found.bodies >= LEAST_BODIES
    assert limit - base < FLOORS or base + 2 * found.runs + found.bodies <= limit


@given(limit=BYTES, base=BYTES)
def test_a_model_of_large_rows_gets_more_and_leaves_room_for_bodies_and_outputs(limit: int, base: int) -> None:
    usual, large = shares(limit, base), shares(limit, base, large_rows=True)
    assert large.runs >= usual.runs
    assert large.bodies <= usual.bodies
    assert limit - base < 8 * FLOORS or base + large.runs + 2 * large.bodies <= limit


@given(limit=BYTES, more=BYTES, base=BYTES)
def test_more_memory_takes_no_share_away(limit: int, more: int, base: int) -> None:
    less, greater = shares(limit, base), shares(limit + more, base)
    assert greater.runs >= less.runs
    assert greater.bodies >= less.bodies


def test_a_pod_of_512_mib() -> None:
    assert shares(512 * MIB, 128 * MIB) == shares(512 * MIB, 128 * MIB, large_rows=False)
    assert shares(512 * MIB, 128 * MIB).runs == 128 * MIB
    assert shares(512 * MIB, 128 * MIB).bodies == 128 * MIB
    assert shares(512 * MIB, 128 * MIB, large_rows=True).runs == 288 * MIB


@given(st.integers(0, 1 << 40))
def test_cutting_ends_at_one(elements: int) -> None:
    assert 1 <= cut_to(elements) <= max(1, elements)
    count = 0
    while elements > 1:
        elements, count = cut_to(elements), count + 1
    assert count <= 41


def test_a_pod_that_is_full_still_reads_and_answers_small_requests() -> None:
    assert shares(100 * MIB, 100 * MIB) == shares(0, MIB) == Shares(runs=16 * MIB, outputs=MIB, bodies=MIB)


def test_a_pod_without_memory_left_still_runs_what_is_small() -> None:
    assert shares(128 * MIB, 128 * MIB).runs == 16 * MIB
    assert shares(128 * MIB, 128 * MIB, repeated_strings=True).runs == 2 * MIB


@given(free=st.integers(48 * MIB, 1 << 42), base=BYTES)
def test_where_strings_are_repeated_runs_have_a_24th(free: int, base: int) -> None:
    assert shares(base + free, base, repeated_strings=True).runs == free // 24
