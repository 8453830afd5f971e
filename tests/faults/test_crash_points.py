"""The operator is killed before and after every single write, and nobody can tell afterwards.

For each scenario the writes of an undisturbed run are counted; then there are two runs for each of them: killed as it
is sent, and killed as its answer comes. Each ends in the state of the undisturbed run, with the same objects created
and deleted on the way by the API server's own account, and then is silent. The operator leads by a Lease, as it does
in production; the Lease's own writes are none of those counted.
"""

import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from statistics import median
from typing import Any, NamedTuple

import pytest
from faults.arena import LANES, LASTING, NAME, Arena, Lane, until
from faults.state import State, difference

pytestmark = pytest.mark.cluster
ROUNDS = 2
"""Looks at a pod within which it has its size: what the operator is back with, and the next, one round later. In most
runs: where the API server refuses a write, since the view is behind, it takes one look more."""
SILENCE_S = 30.0
"""What the operator has to be silent for afterwards, by the requirements."""

Spec = Mapping[str, Any]
Act = Callable[[Lane], None]


class Kill(NamedTuple):
    """When the operator is killed: as its write of this number is sent, or as it is answered."""

    number: int
    before: bool


class Outcome(NamedTuple):
    """What came of a run."""

    writes: int
    killed: bool
    state: State
    created: Counter[str]
    deleted: Counter[str]
    rounds: list[int]


class Scenario(NamedTuple):
    """What is asked of the operator, and how it shows that it was done.

    Attributes:
        before: what the resource asked for until then; None when there was none.
        change: what is done while the operator is watched.
        over: whether the change has been carried out.
    """

    before: Spec | None
    change: Act
    over: Callable[[Lane], bool] = Lane.serves


def _manual(replicas: int, **spec: Any) -> Spec:
    return {"scaling": {"mode": "Manual", "replicas": replicas, **LASTING}, **spec}


def _auto(most: int, least: int = 1, **spec: Any) -> Spec:
    scaling = {"mode": "Auto", "minReplicas": least, "maxReplicas": most, "downStabilizationSeconds": 0}
    return {"scaling": scaling, "objective": {"latencyMilliseconds": 100}, **spec}


def _put(spec: Spec) -> Act:
    return lambda lane: lane.put(**spec)


def _loaded(erlangs: float) -> Act:
    """The pods report another load from now on."""
    return lambda lane: lane.load(erlangs)


def _of_size(replicas: int, cpu: str) -> Callable[[Lane], bool]:
    return lambda lane: lane.sizes() == [cpu] * replicas and lane.serves()


def _up_and_down(lane: Lane) -> bool:
    """The load goes once there are two pods, and then so does one of them."""
    if lane.sizes() == ["200m"] * 2:
        lane.load(0)
    return not lane.loaded() and lane.sizes() == ["200m"] and lane.serves()


def _gone(lane: Lane) -> bool:
    return not any(NAME in key for key in lane.state())


def _broken(lane: Lane) -> None:
    """Somebody removes two of the children, and edits a third."""
    lane.child("DELETE", "services")
    lane.child("DELETE", "networkpolicies")
    lane.child("PATCH", "poddisruptionbudgets", {"spec": {"maxUnavailable": 3}})


def _repaired(lane: Lane) -> bool:
    children = lane.state()
    whole = {"Service/digits", "NetworkPolicy/digits"} <= children.keys()
    return whole and children["PodDisruptionBudget/digits"][0]["spec"]["maxUnavailable"] == 1


CREATE = _manual(2)
SCENARIOS: Mapping[str, Scenario] = {
    "create": Scenario(None, _put(CREATE)),
    "update": Scenario(_manual(1), _put(_auto(3, least=2, price={"coreHour": "1"}))),
    "rollout": Scenario(_manual(2), _put(_manual(2, resources={"cpu": "300m"}, template={"labels": {"seen": "new"}}))),
    "scale up": Scenario(_manual(1), _put(_manual(3))),
    "scale down": Scenario(_manual(3), _put(_manual(1))),
    "load up and down": Scenario(_auto(2), _loaded(0.9), over=_up_and_down),
    "delete": Scenario(_manual(2), Lane.delete, over=_gone),
    "repair": Scenario(_manual(1), _broken, over=_repaired),
    "resize after the start": Scenario(None, _put(_manual(2, startup={"cpu": "600m"})), over=_of_size(2, "200m")),
    "resize under load": Scenario(
        _auto(1, resources={"cpu": "200m", "maxCPU": "1"}), _loaded(0.95), over=_of_size(1, "1")
    ),
}


Struck = Callable[[int], bool]
"""Told of each write by its number; whether it is to go no further."""


def run(arena: Arena, name: str, kill: Kill | None, seen: Struck = lambda _: False) -> Outcome:
    """One run of a scenario; `seen` is told of the writes of an undisturbed one."""
    scenario, killed = SCENARIOS[name], threading.Event()
    with arena.lane(name.replace(" ", "-"), leads=True) as lane:
        if scenario.before is not None:
            with arena.active:
                lane.put(**scenario.before)
                until("it serves", lane.serves, seen=lane.seen)
            lane.settled()

        def strike(number: int) -> bool:
            if kill is None:
                return seen(number)
            if killed.is_set() or number != kill.number:
                return False
            killed.set()
            lane.operator.kill()
            return True

        def over() -> bool:
            return scenario.over(lane)

        with arena.active:
            lane.proxy.arm()
            setattr(lane.proxy, "before_write" if kill is None or kill.before else "after_write", strike)
            scenario.change(lane)
            until(f"{name} is carried out, or its operator killed", lambda: killed.is_set() or over(), seen=lane.seen)
        until(f"{name} is carried out", over, seen=lane.seen)
        lane.silent(SILENCE_S)
        rounds = lane.rounds_until_resized() if killed.is_set() else []
        return Outcome(len(lane.proxy.writes), killed.is_set(), lane.state(), *lane.record(), rounds)


def deleted(arena: Arena, number: int) -> State:
    """What is left when the resource is deleted while it is made: the operator dies right after so many writes."""
    with arena.lane("delete-midway", leads=True) as lane:
        struck = threading.Event()

        def strike(written: int) -> bool:
            if struck.is_set() or written != number:
                return False
            struck.set()
            lane.operator.kill()
            lane.delete()
            return True

        with arena.active:
            lane.proxy.after_write = strike
            lane.put(**CREATE)
            until("it is deleted, or made", lambda: struck.is_set() or lane.serves(), seen=lane.seen)
        if not struck.is_set():
            lane.delete()
        until("all is gone", lambda: _gone(lane), seen=lane.seen)
        lane.silent(SILENCE_S)
        return lane.state()


Outcomes = Mapping[str, Mapping[Kill | None, Future[Outcome]]]


def all_kills(arena: Arena, names: Sequence[str]) -> Outcomes:
    """All runs of some scenarios: with each write of an undisturbed run the two begin that are killed at it."""
    made: dict[str, dict[Kill | None, Future[Outcome]]] = {name: {} for name in names}
    with ThreadPoolExecutor(LANES) as pool, ThreadPoolExecutor(len(names)) as undisturbed:
        for name in names:

            def seen(number: int, name: str = name) -> bool:
                for kill in (Kill(number, before=True), Kill(number, before=False)):
                    made[name][kill] = pool.submit(run, arena, name, kill)
                return False

            made[name][None] = undisturbed.submit(run, arena, name, None, seen)
    return made


def all_deletions(arena: Arena, _: Sequence[str]) -> Sequence[State]:
    """What a deletion leaves, and what it leaves after each write of a resource that is being made."""
    runs: list[Future[State]] = []
    with ThreadPoolExecutor(LANES) as pool:

        def seen(number: int) -> bool:
            runs.append(pool.submit(deleted, arena, number))
            return False

        nothing = pool.submit(run, arena, "delete", None)
        run(arena, "create", None, seen)
    return [nothing.result().state, *(future.result() for future in runs)]


@pytest.mark.begun(prepare=all_kills)
@pytest.mark.parametrize("name", SCENARIOS)
def test_a_kill_at_any_write_makes_no_difference(name: str, outcomes: Outcomes) -> None:
    _no_difference(name, outcomes[name])


@pytest.mark.begun(prepare=all_deletions)
def test_a_resource_that_is_deleted_while_the_operator_is_dead_leaves_nothing(outcomes: Sequence[State]) -> None:
    nothing, *left = outcomes
    for number, found in enumerate(left, 1):
        assert difference(nothing, found) == [], f"after {number} writes"


def _no_difference(name: str, outcomes: Mapping[Kill | None, Future[Outcome]]) -> None:
    undisturbed = outcomes[None].result()
    failures, late, rounds = [], 0, list[int]()
    for kill, future in outcomes.items():
        try:
            found = future.result()
        except AssertionError as error:
            failures.append(f"{kill}: {error}")
            continue
        late += bool(kill) and not found.killed
        rounds += found.rounds
        failures += [f"{kill}: {line}" for line in _differences(undisturbed, found)]
    print(f"\n{name}: {undisturbed.writes} writes, {len(outcomes) - 1} runs, {late} over before their write came")
    print(f"looks until a pod of a wrong size was resized: {dict(sorted(Counter(rounds).items()))}" if rounds else "")
    assert not failures, "\n".join(failures)
    assert not rounds or median(rounds) <= ROUNDS


def _differences(expected: Outcome, found: Outcome) -> list[str]:
    lines = difference(expected.state, found.state)
    for what in ("created", "deleted"):
        one, other = getattr(expected, what), getattr(found, what)
        lines += [f"{what}: {n} times {each} instead of {one[each]}" for each, n in other.items() if n != one[each]]
        lines += [f"{what}: no {each}" for each in one.keys() - other.keys()]
    return lines
