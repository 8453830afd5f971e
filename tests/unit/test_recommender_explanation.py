"""What a decision says: each sentence as a person reads it, with its singular and plural and its boundaries."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corefit_core.recommender import Policy, explanation
from corefit_core.recommender.explanation import Held, Withheld
from corefit_core.sizing import Objective

P99 = Objective(percentile=99, latency_s=0.2)
TRIED = "one more did no more work; it is tried again within two hours"
IDLE = "has had no idle time"
RETURNED = "came back 3 times in the last hour"
BEFORE = "before a new pod could serve"
POLICY = Policy(objective=P99, millicores_per_pod=250)


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        (lambda: explanation.objective(P99), "p99 within 200 ms"),
        (lambda: explanation.objective(Objective(percentile=99.5, latency_s=0.0015)), "p99.5 within 1.5 ms"),
        (lambda: explanation.pods(0), "0 replicas"),
        (lambda: explanation.pods(1), "1 replica"),
        (lambda: explanation.pods(2), "2 replicas"),
        (lambda: explanation.cores(0.25, 1.0), "0.25 cores"),
        (lambda: explanation.cores(0.5, 2.0), "1 core"),
        (lambda: explanation.cores(1.26, 1.0), "1.3 cores"),
        (lambda: explanation.cores(0.0, 1.0), "0 cores"),
        (lambda: explanation.span(119.4), "119 s"),
        (lambda: explanation.span(120.0), "2 min"),
        (lambda: explanation.span(720.0), "12 min"),
        (lambda: explanation.fell(2, 0.0), "Corefit wants 2 replicas now, and downStabilizationSeconds is 0"),
        (lambda: explanation.fell(1, 30.0), "Corefit wanted 1 replica at most in the last 30 s"),
        (
            lambda: explanation.window(0, 30.0),
            "the load has been known for less than 30 s, so replicas do not go down yet",
        ),
        (lambda: explanation.window(3, 180.0), "Corefit wanted 3 within the last 3 min"),
        (lambda: explanation.growing(1), "1 replica carries the load once it has more CPU; the others go after that"),
        (lambda: explanation.growing(2), "2 replicas carry the load once each has more CPU; the others go after that"),
        (lambda: explanation.load(0.8, 2.0, 2.0), "The load needs 1.6 cores of the 4 that the pods have"),
        (lambda: explanation.enough("p99 within 200 ms", 1), "1 replica keeps p99 within 200 ms"),
        (lambda: explanation.enough("p99 within 200 ms", 2), "2 replicas keep p99 within 200 ms"),
        (lambda: explanation.enough("", 1), "1 replica carries the load"),
        (lambda: explanation.enough("", 2), "2 replicas carry the load"),
        (
            lambda: explanation.tolerated(1, 0.025, saved=False),
            "1 replica is enough: up to 2.5 % of the requests may be late or refused",
        ),
        (
            lambda: explanation.tolerated(3, 0.01, saved=True),
            "3 replicas are enough: up to 1 % of the requests may be late or refused, since few were in the last hour",
        ),
        (
            lambda: explanation.forecast("2 replicas keep p99", 4, 20.0, "3 cores", kept=True),
            "2 replicas keep p99 now, and 4 do if the load reaches 3 cores within 20 s, as its past says it may",
        ),
        (
            lambda: explanation.forecast("1 replica is enough", 4, 20.0, "3 cores", kept=False),
            "1 replica is enough; 4 are needed if the load reaches 3 cores within 20 s, as its past says it may",
        ),
        (lambda: explanation.late(0.62, 500), "62 % of the last minute's requests were late or refused"),
        (lambda: explanation.cause("x"), ", so many because x"),
        (
            lambda: explanation.tight(0.18, P99),
            "a request takes 180 ms by itself, and the 200 ms of the objective leave it little time to wait for others",
        ),
        (
            lambda: explanation.trial(1),
            f"1 replica {IDLE}, so more load may wait; one more replica shows whether it does",
        ),
        (
            lambda: explanation.trial(2),
            f"2 replicas {IDLE.replace('has', 'have')}, so more load may wait; one more replica shows whether it does",
        ),
        (
            lambda: explanation.full(3, 3),
            "3 replicas have had no idle time, so clients may be waiting; maxReplicas is 3",
        ),
        (
            lambda: explanation.full(1, 2),
            f"1 replica {IDLE}, so clients may be waiting; {TRIED}",
        ),
        (
            lambda: explanation.holding(Held(1, 2.5, 3, 600.0), 4, 1.0),
            f"crowds of up to 2.5 cores {RETURNED}, so 4 replicas are kept although 1 would do now; for 10 min at most",
        ),
        (
            lambda: explanation.withheld(Withheld(3, 5, 8.0)),
            f"the last 5 bursts ended within 8 s, {BEFORE}; if this burst lasts longer, Corefit scales to 3 replicas",
        ),
    ],
)
def test_a_sentence_is_what_a_person_reads(said: Callable[[], str], sentence: str) -> None:
    assert said() == sentence


@pytest.mark.parametrize(("requests", "few"), [(9, " (fewer than 10)"), (10, " (fewer than 100)"), (100, "")])
def test_a_share_of_few_requests_says_how_few(requests: int, few: str) -> None:
    assert explanation.share_of_the_last_minute(0.5, requests) == f"50 % of the last minute's requests{few}"


def _mend(reached_s: float, slowdown: float = 1.0, run_s: float | None = None) -> str:
    return explanation.unreachable(POLICY, run_s, reached_s, slowdown)


NO_HELP = "More replicas do not help: Corefit adds replicas for load, and none for this objective."


def test_who_has_an_objective_that_no_replicas_keep_is_shown_what_would() -> None:
    assert _mend(0.25) == (
        f"Requests that do not wait miss p99 within 200 ms as well. {NO_HELP} "
        "Set spec.objective.latencyMilliseconds to 300 or more, or use a faster model."
    )
    assert _mend(0.2).endswith("Raise spec.objective.latencyMilliseconds, or use a faster model.")


def test_a_run_that_takes_longer_than_the_objective_is_named_and_one_of_just_that_is_not() -> None:
    said = _mend(0.4, run_s=0.25)
    assert said.startswith("One run of the model takes 250 ms, more than the 200 ms of the objective. More")
    assert _mend(0.4, run_s=0.2).startswith("Requests that do not wait")


def test_a_quota_that_stretches_runs_is_named_and_more_cpu_is_advised() -> None:
    said = _mend(0.9, slowdown=4.0, run_s=0.25)
    longer = "more than the 200 ms of the objective; a pod has 250m of CPU, so under load a run takes up to 1000 ms."
    assert said.startswith(f"One run of the model takes 250 ms, {longer}")
    assert said.endswith(
        "latencyMilliseconds to 1000 or more, or give each pod more CPU (spec.resources.cpu), or use a faster model."
    )


def test_requests_that_miss_without_having_waited_are_doubted_not_judged() -> None:
    assert explanation.doubtful(POLICY, 0.05, 200, 0.25, 1.0) == (
        "5 % of the last minute's requests missed p99 within 200 ms although they did not wait. If that stays so, more "
        "replicas do not help. Set spec.objective.latencyMilliseconds to 300 or more, or use a faster model."
    )


@given(st.floats(0.0, 1e12))
def test_what_is_advised_is_round_enough_to_stay_and_no_less_than_what_is_needed(milliseconds: float) -> None:
    said = float(explanation._upward(milliseconds))
    assert milliseconds <= said <= max(1.0, 2 * milliseconds)
    assert said.is_integer()
    assert f"{said:.0f}".rstrip("0") in ("1", "2", "3", "5", "7")


@pytest.mark.parametrize(
    ("milliseconds", "advised"), [(0.0, "1"), (1.0, "1"), (1.1, "2"), (70.0, "70"), (71.0, "100"), (1e15, f"{10**12}")]
)
def test_advice_has_a_first_digit_and_no_end_above_a_report(milliseconds: float, advised: str) -> None:
    assert explanation._upward(milliseconds) == advised
