"""The operator's view is late, wrong or gone, its writes are refused or their answers lost: the end is the same.

In each run the resource is changed three times while the fault is on. When it is over the operator has brought about
what the newest spec asks for, is silent, has deleted nothing, and has lowered replicas only as it was asked to.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import Any, NamedTuple

import pytest
from aiohttp import web
from faults import faulty
from faults.arena import LASTING, Arena, Lane, until
from faults.proxy import LOSE, REFUSE, WRITES, Reply, Verdict
from faults.state import State, difference, state

pytestmark = pytest.mark.cluster
SILENCE_S = 30.0
OUTAGE_S, LONG_OUTAGE_S = 20.0, 120.0
"""Seconds for which the API server can't be reached: in `make test`, and by the requirements (`make nightly`)."""
PAUSE_S = 3.0
"""Seconds between two changes."""
RESYNC = ("--resync-seconds", "5")
"""Ten minutes by default: as long would a test take that shows what is made good by it alone."""
CHILDREN = ("serviceaccounts", "networkpolicies", "services", "poddisruptionbudgets", "deployments")


def _spec(replicas: int, seen: str) -> Mapping[str, Any]:
    return {"scaling": {"mode": "Manual", "replicas": replicas, **LASTING}, "template": {"labels": {"seen": seen}}}


BEFORE = _spec(1, "first")
CHANGES = (_spec(3, "first"), _spec(3, "second"), _spec(2, "third"))
"""More replicas, then another template, then yet another one and fewer replicas."""


class Outcome(NamedTuple):
    """What came of a run."""

    state: State
    wrong: list[str]
    starts: int
    writes: int


class Fault(NamedTuple):
    """Something that is wrong while the resource is changed.

    Attributes:
        on: makes it so, for a block.
        lasts: whether the operator can do its work all the same; it is waited for then.
        options: of the operator.
    """

    on: Callable[[Lane], AbstractContextManager[None]]
    lasts: bool = True
    options: tuple[str, ...] = ()


@contextmanager
def _seeing(events: faulty.Events, lane: Lane) -> Iterator[None]:
    """Watches tell something else than what happens."""
    lane.proxy.events = events
    lane.proxy.cut_watches()
    yield


@contextmanager
def _answered(judge: Callable[[], faulty.Judge], lane: Lane) -> Iterator[None]:
    """Requests are answered by someone else than the API server."""
    lane.proxy.judge = judge()
    lane.proxy.cut_watches()
    yield


@contextmanager
def _for(seconds: float, verdict: Verdict, lane: Lane) -> Iterator[None]:
    """No request is answered but so, for so long."""
    until_s = time.monotonic() + seconds
    with _answered(lambda: faulty.always(verdict), lane):
        yield
        time.sleep(max(0.0, until_s - time.monotonic()))


@contextmanager
def _frozen(seconds: float, lane: Lane) -> Iterator[None]:
    """Nothing goes through for so long, and nobody is told; what was sent arrives afterwards."""
    until_s = time.monotonic() + seconds
    lane.proxy.freeze()
    yield
    time.sleep(max(0.0, until_s - time.monotonic()))


@contextmanager
def _replayed(applies: Callable[[web.Request], bool], lane: Lane) -> Iterator[None]:
    """After all is done the operator restarts, and is given the lists of before; the watches tell it the rest late."""
    lists = faulty.OldLists(lane.proxy, applies)
    lane.restart()
    yield
    until("the changes are carried out", lane.serves, seen=lane.seen)
    lists.replay()
    lane.proxy.events = faulty.held(5)
    lane.restart()
    lane.silent(10)


@contextmanager
def _dead(lane: Lane) -> Iterator[None]:
    """The operator is away while the resource is changed."""
    with lane.operator.away():
        yield


@contextmanager
def _rotated(lane: Lane) -> Iterator[None]:
    """The token that it has is good no longer; there is another one where it got that from."""
    lane.proxy.judge = faulty.token(lane.proxy.rotate("newer"))
    lane.proxy.cut_watches()
    yield


def _everything(_: web.Request) -> bool:
    return True


def _resources(request: web.Request) -> bool:
    return request.path.endswith("inferenceservices")


def _watching(request: web.Request) -> bool:
    return "watch" in request.query


def _reading(request: web.Request) -> bool:
    return request.method == "GET" and not _watching(request)


def _seen(events: faulty.Events, *options: str) -> Fault:
    return Fault(partial(_seeing, events), options=options)


def _writing(request: web.Request) -> bool:
    return request.method in WRITES


def _first(verdict: Verdict, applies: Callable[[web.Request], bool] = _writing) -> Fault:
    return Fault(partial(_answered, lambda: faulty.first_tries(verdict, applies)))


def _some(verdict: Verdict, applies: Callable[[web.Request], bool]) -> Fault:
    return Fault(partial(_answered, lambda: faulty.every_other(verdict, applies)))


def _outages(seconds: float) -> Mapping[str, Fault]:
    return {
        "API server refuses connections": Fault(partial(_for, seconds, REFUSE), lasts=False),
        "API server answers 503": Fault(partial(_for, seconds, Reply(503)), lasts=False),
        "API server swallows all": Fault(partial(_frozen, seconds), lasts=False),
    }


FAULTS: Mapping[str, Fault] = {
    "events held for 5 s": _seen(faulty.held(5)),
    "every other event dropped": _seen(faulty.dropped(2), *RESYNC),
    "all events dropped": _seen(faulty.dropped(1), *RESYNC),
    "events duplicated": _seen(faulty.duplicated),
    "events reordered": _seen(faulty.reordered),
    "watches closed": _seen(faulty.closed(2)),
    "watches ended by 410": _seen(faulty.failing(410, 2)),
    "watches ended by 500": _seen(faulty.failing(500, 4)),
    "watches refused with 410": _first(Reply(410), _watching),
    "watches refused with 500": _some(Reply(500), _watching),
    "old lists after a restart": Fault(partial(_replayed, _everything)),
    "old resources after a restart": Fault(partial(_replayed, _resources)),
    "writes answered by 409": _first(Reply(409)),
    "writes answered by 422": _first(Reply(422)),
    "writes answered by 429": _first(Reply(429, {"Retry-After": "2"})),
    "writes answered by 500": _first(Reply(500)),
    "writes answered by 503": _first(Reply(503)),
    "writes lost": _first(REFUSE),
    "replies to writes lost": _first(LOSE),
    "reads answered by 500": _some(Reply(500), _reading),
    "the token is expired": Fault(partial(_for, 5, Reply(401)), lasts=False),
    "the token is rotated": Fault(_rotated),
    "operator away": Fault(_dead, lasts=False),
    **_outages(OUTAGE_S),
}


def run(arena: Arena, name: str | None, fault: Fault | None) -> Outcome:
    """One run, with a fault or without."""
    with arena.lane(f"view-{name or 'none'}".lower().replace(" ", "-"), *(fault.options if fault else ())) as lane:
        with arena.active:
            lane.put(**BEFORE)
            until("it serves", lane.serves, seen=lane.seen)
        lane.settled()
        asked = _change(lane) if fault is None else _disturbed(lane, fault)
        until(f"{name} is overcome", lane.serves, seen=lane.seen)
        lane.silent(SILENCE_S)
        found = state(arena.api.get, lane.namespace, history=False)
        return Outcome(found, _wrong(lane, asked), len(lane.operator.started), len(lane.proxy.writes))


def _disturbed(lane: Lane, fault: Fault) -> float:
    with fault.on(lane):
        asked = _change(lane)
        if fault.lasts:
            until("it is overcome while it lasts", lane.serves, seen=lane.seen)
    lane.proxy.calm()
    return asked


def _change(lane: Lane) -> float:
    """Changes the resource; the wall clock's time from which it asks for fewer replicas."""
    for change in CHANGES:
        time.sleep(PAUSE_S)
        asked = time.time()
        lane.put(**change)
    return asked


def _wrong(lane: Lane, fewer_from: float) -> list[str]:
    """What was done that nobody asked for."""
    lines = [f"{each} was deleted" for each in lane.record()[1] if each.split("/")[0] in CHILDREN]
    replicas = 0
    for at, wanted in lane.scalings():
        least = CHANGES[-1]["scaling"]["replicas"] if at >= fewer_from else replicas
        if wanted < least:
            lines.append(f"scaled from {replicas} to {wanted}, {at - fewer_from:.1f} s after fewer were asked for")
        replicas = wanted
    templates = len({spec["template"]["labels"]["seen"] for spec in (BEFORE, *CHANGES)})
    if lane.revision() > templates:
        lines.append(f"{lane.revision()} revisions of {templates} templates: an old one came back")
    return lines


Outcomes = Mapping[str | None, Future[Outcome]]


def _all(arena: Arena, faults: Mapping[str, Fault]) -> Outcomes:
    """A run with each fault, and one without."""
    with ThreadPoolExecutor(len(faults) + 1) as pool:
        undisturbed = {None: pool.submit(run, arena, None, None)}
        return undisturbed | {name: pool.submit(run, arena, name, fault) for name, fault in faults.items()}


def all_faults(arena: Arena, names: Sequence[str]) -> Outcomes:
    """Those of `make test`."""
    return _all(arena, {name: FAULTS[name] for name in names})


def long_outages(arena: Arena, _: Sequence[str]) -> Outcomes:
    """Those of `make nightly`."""
    return _all(arena, _outages(LONG_OUTAGE_S))


@pytest.mark.begun(prepare=all_faults)
@pytest.mark.parametrize("name", FAULTS)
def test_whatever_the_operator_sees_it_ends_where_the_newest_spec_says(name: str, outcomes: Outcomes) -> None:
    _judge(name, outcomes)


@pytest.mark.nightly
@pytest.mark.begun(prepare=long_outages)
@pytest.mark.parametrize("name", _outages(LONG_OUTAGE_S))
def test_so_it_does_when_the_api_server_is_away_for_two_minutes(name: str, outcomes: Outcomes) -> None:
    _judge(name, outcomes)


def _judge(name: str, outcomes: Outcomes) -> None:
    undisturbed, found = outcomes[None].result(), outcomes[name].result()
    print(f"\n{name}: {found.writes} writes, {found.starts} starts")
    assert not undisturbed.wrong
    assert not found.wrong
    assert difference(undisturbed.state, found.state) == []
