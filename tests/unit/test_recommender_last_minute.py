"""The figures of the last minute are of its requests: by their age, and of one objective."""

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corefit_core.histogram import BOUNDS_S, Histogram, bucket
from corefit_core.recommender import Decision, Observation, PodObservation, Policy, State, decide, explanation
from corefit_core.report import Counters, ModelIdentity, PlanInForce, Report
from corefit_core.sizing import Objective

ROUND_S = 2.0
POLICY = Policy(objective=Objective(percentile=95.0, latency_s=1.0), max_replicas=4)
SERVICE_S = 0.02


class Pod:
    """A pod that answers so many requests a round, each after so many seconds, and refuses others."""

    def __init__(self, policy: Policy = POLICY) -> None:
        self.policy, self.state, self.now = policy, State(), 0.0
        self.answers: list[int] = [0] * (len(BOUNDS_S) + 1)
        self.served: list[int] = list(self.answers)
        self.refused = 0
        self.tick()

    def tick(self, answered: int = 0, total_s: float = SERVICE_S, refused: int = 0) -> Decision:
        self.now += ROUND_S
        self.answers[bucket(total_s)] += answered
        self.served[bucket(SERVICE_S)] += answered
        self.refused += refused
        pod = PodObservation(uid="p", ready=True, report=self._report())
        seen = Observation(pods=(pod,), replicas=1)
        # Through its own form on the wire: what is remembered must survive it.
        state = msgspec.msgpack.decode(msgspec.msgpack.encode(self.state), type=State)
        decision, self.state = decide(self.policy, state, seen, self.now)
        return decision

    def run(self, seconds: float, **each: float) -> list[Decision]:
        return [self.tick(**each) for _ in range(round(seconds / ROUND_S))]  # type: ignore[arg-type]

    def _report(self) -> Report:
        count = sum(self.served)
        times = Histogram(counts=tuple(self.served), sum_s=count * SERVICE_S, sum_sq_s2=count * SERVICE_S**2)
        return Report(
            boot_id="b",
            state="Ready",
            model=ModelIdentity(name="m"),
            plan=PlanInForce(grant_millicores=1000, workers=1, threads_per_worker=1, queue_depth=40),
            clock_s=self.now,
            startup_s=3.0,
            counters=Counters(
                arrivals=count + self.refused,
                admitted=count,
                completed=count,
                rejected={"queue_full": self.refused},
                busy_worker_seconds=count * SERVICE_S,
            ),
            service_time=times,
            total=Histogram(counts=tuple(self.answers)),
        )


@pytest.mark.parametrize("after", [1, 4, 40])
def test_after_a_minute_in_time_nothing_is_late_however_few_the_requests_are(after: int) -> None:
    """43 % of the last minute's requests were said to be late 77 s after the last of them was."""
    pod = Pod()
    overload = pod.run(30, answered=80, total_s=1.5, refused=20)[-1]
    assert overload.missed == 1.0
    assert overload.requests == 1500
    assert overload.latency_s == pytest.approx(1.5, rel=0.2)
    *_, decision = pod.run(60 + 2 * ROUND_S, answered=after)
    assert decision.missed == 0.0
    assert decision.latency_s == pytest.approx(SERVICE_S, rel=0.2)
    assert 25 * after <= decision.requests <= 31 * after


def test_a_minute_without_requests_has_no_figures() -> None:
    """The p99 of one request stood in the column LATENCY for minutes."""
    pod = Pod()
    (only,) = pod.run(ROUND_S, answered=1)
    assert (only.missed, only.requests) == (0.0, 1)
    assert only.latency_s is not None
    *_, decision = pod.run(60 + 2 * ROUND_S)
    assert (decision.missed, decision.requests, decision.latency_s) == (None, 0, None)


rounds = st.lists(
    st.tuples(st.integers(0, 50), st.sampled_from([0.02, 0.5, 1.5]), st.integers(0, 20)), min_size=1, max_size=80
)


@given(rounds)
@settings(max_examples=25, deadline=None)
def test_the_figures_are_those_of_fifty_to_sixty_seconds(past: list[tuple[int, float, int]]) -> None:
    pod = Pod()
    for answered, total_s, refused in past:
        decision = pod.tick(answered, total_s, refused)
    sums = {sum(a + r for a, _, r in past[-count:]) for count in range(25, 31)}
    assert decision.requests in sums
    missed = {sum(r + (a if t > 1 else 0) for a, t, r in past[-count:]) for count in range(25, 31)}
    assert round((decision.missed or 0.0) * decision.requests) in missed


@pytest.mark.parametrize("latency_s", [0.3, 3.0])
def test_another_objective_starts_the_figures_anew(latency_s: float) -> None:
    """50 % were said to miss an objective that was set that second, by answers of before it."""
    pod = Pod()
    pod.run(60, answered=40, total_s=1.5, refused=10)
    pod.policy = msgspec.structs.replace(POLICY, objective=Objective(percentile=95.0, latency_s=latency_s))
    decision = pod.tick(4)
    assert (decision.missed, decision.requests, decision.invalid_reports) == (0.0, 4, 0)
    assert decision.latency_s == pytest.approx(SERVICE_S, rel=0.2)
    assert pod.state.slo.served.missed == 0.0
    assert pod.tick(4, refused=4).missed == pytest.approx(1 / 3)


def test_steady_load_says_the_same_from_one_moment_to_the_next() -> None:
    """With the exact number the status of each loaded resource changed every ten seconds, and was written as often."""
    said = {explanation.share_of_the_last_minute(0.43, requests) for requests in range(250, 310)}
    assert said == {"43 % of the last minute's requests"}
    assert explanation.share_of_the_last_minute(0.43, 7) == "43 % of the last minute's requests (fewer than 10)"
