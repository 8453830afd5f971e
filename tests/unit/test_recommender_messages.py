"""What a message says of load and replicas does not contradict itself, whatever the load does."""

import re
from typing import Final

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from unit.test_recommender_fall import OBJECTIVE, WORKERS, World, crowds, segments

from corefit_core.recommender import CpuRange, Decision, Policy
from corefit_core.sizing import Objective

NUMBER: Final = r"([\d.]+) cores?"
ROUNDED: Final = 1.06
"""Two digits."""


def contradictions(decision: Decision, cores: int = WORKERS) -> list[str]:
    """What is wrong with the numbers of a message, if a pod can have so many cores."""
    text, found = decision.message, []
    need = re.match(rf"The load needs {NUMBER}", text)
    keeps = re.search(r"(\d+) replicas? keeps? p", text)
    reach = re.search(rf"if the load reaches {NUMBER}", text)
    if need and keeps and float(need[1]) > ROUNDED * int(keeps[1]) * cores:
        found.append("it needs more than what keeps the objective has")
    if reach and (not need or float(reach[1]) <= float(need[1])):
        found.append("it reaches no more than it needs")
    many = need and keeps and int(keeps[1]) > 1 and int(keeps[1]) > 2.2 * float(need[1]) / cores
    if many and not reach and "so many because" not in text:
        found.append("no reason is given for so many")
    return found


@given(
    st.one_of(st.lists(segments, min_size=1, max_size=6), crowds),
    st.sampled_from([0.0, 30.0]),
    st.integers(1, 40),
    st.sampled_from([WORKERS, 4 * WORKERS]),
)
@settings(max_examples=60, deadline=None, phases=[Phase.explicit, Phase.generate])
def test_the_numbers_of_a_message_agree(
    past: list[tuple[float, float]], window_s: float, most: int, cores: int
) -> None:
    """`The load needs 0.97 cores of the 0.75; 1 replica keeps p95 now, and 3 do if the load reaches 0.65 cores`."""
    least = 1000 * WORKERS
    larger = CpuRange(min_millicores=least, max_millicores=1000 * cores) if cores > WORKERS else None
    policy = Policy(
        objective=OBJECTIVE,
        max_replicas=most,
        down_window_s=window_s,
        millicores_per_pod=least,
        workers_per_pod=WORKERS,
        cpu_range=larger,
    )
    world = World(policy)
    for erlangs, seconds in past:
        for decision in world.run(erlangs, seconds):
            assert contradictions(decision, cores) == [], decision


def test_more_work_than_a_pod_can_do_is_not_said_to_be_kept() -> None:
    """`The load needs 0.28 cores of the 0.25 that the pods have; 1 replica keeps p95 within 1000 ms`."""
    patient = Objective(percentile=95.0, latency_s=3.0)
    world = World(Policy(objective=patient, max_replicas=4, down_window_s=30.0))
    for _ in world.run(1.0, 600.0):
        pass
    enough = "1 replica is enough: up to 20 % of the requests may be late or refused, since few were in the last hour"
    messages = [d.message for d in world.run(2.1, 60.0)]
    assert [m for m in messages if enough in m]
    assert not [m for m in messages if "1 replica keeps" in m and "2.1 cores" in m]


@pytest.mark.parametrize("erlangs", [0.0, 0.2])
def test_a_window_says_what_was_wanted_and_not_that_the_load_needed_it(erlangs: float) -> None:
    """`The load needed 7 within the last 30 s` was said of a load that never had; misses had asked for these."""
    world = World(Policy(objective=OBJECTIVE, max_replicas=10, down_window_s=30.0))
    for _ in world.run(8.0, 120.0):
        pass
    held = [d.message for d in world.run(erlangs, 20.0) if d.reason == "StabilizationWindow"]
    assert any(re.search(r"but Corefit wanted \d+ within the last 30 s", each) for each in held)
