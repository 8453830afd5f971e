"""The rules of leading: whatever order of looks, delays and clocks, there are never two who may write."""

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from corefit_core.election import (
    DURATION_S,
    RENEW_DEADLINE_S,
    RETRY_S,
    Record,
    Seen,
    free_in_s,
    released,
    seen,
    taken,
)


def test_the_periods_are_ordered_as_client_go_demands() -> None:
    assert DURATION_S > RENEW_DEADLINE_S > 1.2 * RETRY_S


def test_a_follower_leads_within_14_seconds_of_the_last_renewal_of_a_leader_that_was_killed() -> None:
    """The 20 s that a failover may take leave 6 s for slow answers."""
    assert DURATION_S + RETRY_S <= 14
    assert RETRY_S == 2, "as often as client-go asks, not more"
    assert DURATION_S - RENEW_DEADLINE_S >= 4, "a write on its way, and clocks of different speeds"


def test_a_released_record_has_a_duration_as_the_api_server_demands_and_no_holder() -> None:
    left = released(Record(holder="x", acquired_at="t0", transitions=3), "t1")
    assert left == Record(holder="", duration_s=1.0, acquired_at="t0", renewed_at="t1", transitions=3)


def test_a_free_lease_is_taken_at_once_and_a_held_one_after_its_duration_on_our_own_clock() -> None:
    assert free_in_s(Seen(record=Record(), since=0.0), "a", 0.0) == 0.0
    held = Seen(record=Record(holder="b", renewed_at="1970-01-01T00:00:00Z"), since=100.0)
    assert free_in_s(held, "a", 100.0) == DURATION_S
    assert free_in_s(held, "a", 100.0 + DURATION_S) == 0.0
    assert free_in_s(held, "b", 100.0) == 0.0


def test_a_renewal_starts_the_time_anew_and_a_look_without_change_does_not() -> None:
    first = seen(None, Record(holder="b", renewed_at="1"), 0.0)
    assert seen(first, Record(holder="b", renewed_at="1"), 5.0).since == 0.0
    assert seen(first, Record(holder="b", renewed_at="2"), 5.0).since == 5.0


def test_a_holder_that_asks_for_longer_is_given_it_and_one_that_asks_for_less_is_not_robbed() -> None:
    assert free_in_s(Seen(record=Record(holder="b", duration_s=60.0), since=0.0), "a", 0.0) == 60.0
    assert free_in_s(Seen(record=Record(holder="b", duration_s=0.0), since=0.0), "a", 0.0) == DURATION_S


def test_transitions_count_changes_of_the_holder_only() -> None:
    first = taken(None, "a", "t1")
    again = taken(first, "a", "t2")
    assert (first.transitions, again.transitions, again.acquired_at, again.renewed_at) == (0, 0, "t1", "t2")
    assert taken(released(again, "t3"), "b", "t4").transitions == 1


@given(st.text(), st.floats(0, 1e9), st.integers(0, 10**9))
def test_a_released_lease_is_free_for_anybody(identity: str, now: float, transitions: int) -> None:
    left = released(Record(holder="x", transitions=transitions), "t")
    assert free_in_s(Seen(record=left, since=now), identity, now) == 0.0


class Candidate(msgspec.Struct):
    """One operator: its clock's speed and what it believes."""

    name: str
    speed: float
    known: Seen | None = None
    version: int = -1
    until: float = -1.0  # on its own clock


class NeverTwoWriters(RuleBasedStateMachine):
    """Two candidates with clocks that run up to 1.2 times apart, any delays between their steps."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.record: Record | None = None
        self.version = 0
        self.candidates = [Candidate("a", 1.1), Candidate("b", 0.92)]

    def _clock(self, candidate: Candidate) -> float:
        return self.now * candidate.speed

    @rule(seconds=st.floats(0.01, 20.0))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule(which=st.integers(0, 1))
    def looks(self, which: int) -> None:
        candidate = self.candidates[which]
        if self.record is not None:
            candidate.known = seen(candidate.known, self.record, self._clock(candidate))
        candidate.version = self.version

    @rule(which=st.integers(0, 1), answer_s=st.floats(0.0, 5.0))
    def writes_the_lease(self, which: int, answer_s: float) -> None:
        candidate = self.candidates[which]
        started = self._clock(candidate)
        if candidate.known is not None and free_in_s(candidate.known, candidate.name, started) > 0:
            return
        if candidate.version != self.version:  # the API server's precondition
            return
        self.version += 1
        self.record = taken(self.record, candidate.name, f"{self.version}")
        self.now += answer_s
        candidate.version = self.version
        candidate.known = seen(candidate.known, self.record, self._clock(candidate))
        candidate.until = started + RENEW_DEADLINE_S

    @rule(which=st.integers(0, 1))
    def lets_go(self, which: int) -> None:
        candidate = self.candidates[which]
        if self.record is not None and self.record.holder == candidate.name and candidate.version == self.version:
            candidate.until = -1.0
            self.version += 1
            self.record = released(self.record, f"{self.version}")
            candidate.version = self.version

    @invariant()
    def at_most_one_may_write(self) -> None:
        assert sum(self._clock(c) < c.until for c in self.candidates) <= 1


TestNeverTwoWriters = NeverTwoWriters.TestCase
