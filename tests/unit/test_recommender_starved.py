"""CPU of a pod on a starved machine: reports come late or not at all, resizes take seconds, the operator restarts."""

from collections.abc import Iterator

import numpy as np
import pytest

from corefit_core.histogram import Histogram, bucket
from corefit_core.recommender import Decision, Observation, PodObservation, Policy, State, decide
from corefit_core.recommender.types import CpuRange
from corefit_core.report import Counters, ModelIdentity, PlanInForce, Report
from corefit_core.sizing import Objective

SERVICE_S, LOAD = 0.05, 0.95
STARVED_S, CALM_S = 60.0, 20.0
SMALL, LARGE = 200, 1000
POLICY = Policy(
    objective=Objective(percentile=99.0, latency_s=0.1),
    max_replicas=1,
    millicores_per_pod=SMALL,
    cpu_range=CpuRange(min_millicores=SMALL, max_millicores=LARGE),
    down_window_s=0.0,
    round_s=1.0,
)


class Process:
    """The runtime of a pod: its counters, and the CPU that it has."""

    def __init__(self) -> None:
        self.at, self.busy_s, self.cpu_s, self.millicores = 0.0, 0.0, 0.0, SMALL

    def report(self, now: float) -> Report:
        self.busy_s += LOAD * (now - self.at)
        self.cpu_s += min(LOAD, self.millicores / 1000) * (now - self.at)
        self.at, done = now, int(self.busy_s / SERVICE_S)
        counts = (*(0,) * bucket(SERVICE_S), done)
        times = Histogram(counts=counts, sum_s=done * SERVICE_S, sum_sq_s2=done * SERVICE_S**2 * 1.5)
        return Report(
            boot_id="b",
            state="Ready",
            model=ModelIdentity(name="m"),
            plan=PlanInForce(grant_millicores=self.millicores, workers=1, threads_per_worker=1, queue_depth=4),
            clock_s=now,
            startup_s=1.0,
            counters=Counters(
                arrivals=done,
                admitted=done,
                completed=done,
                busy_worker_seconds=self.busy_s,
                cpu_seconds=self.cpu_s,
            ),
            service_time=times,
            total=times,
        )


def rounds(seed: int, restarts: int) -> Iterator[tuple[float, int, Decision]]:
    """Each round's time, the pod's CPU after it, and the decision; starved for a minute, then calm."""
    chance = np.random.default_rng(seed)
    pod, state, report, came = Process(), State(), None, 0.0
    ends = sorted(chance.uniform(5.0, STARVED_S) for _ in range(restarts))
    asked, arrives, now, slow_s = SMALL, 0.0, 0.0, float(chance.choice([1.0, 3.0, 8.0, 15.0]))
    while now < STARVED_S + CALM_S:
        starved = now < STARVED_S
        now += min(STARVED_S - now, chance.choice([1.0, 0.2, chance.exponential(slow_s)])) if starved else 1.0
        if ends and ends[0] < now:
            state, ends = State(), ends[1:]
        if now >= min(arrives, STARVED_S):
            pod.millicores = asked
        made = now - (chance.uniform(0.0, slow_s) if starved else 0.0)
        if made > pod.at and (chance.random() < 0.6 or not starved):
            report, came = pod.report(made), now
        seen = PodObservation(uid="a", ready=True, report=report, age_s=now - came, millicores=asked, node="n")
        observation = Observation(pods=(seen,), replicas=1, headroom_millicores={"n": 4 * LARGE})
        decision, state = decide(POLICY, state, observation, now)
        if decision.grants.get("a", asked) != asked:
            asked = decision.grants["a"]
            arrives = now + (chance.exponential(slow_s) if starved else 0.2)
        yield now, asked, decision


@pytest.mark.parametrize("restarts", [0, 1, 3])
def test_a_full_pod_gets_its_cpu_once_the_machine_is_no_longer_starved(restarts: int) -> None:
    """Whatever the operator saw before, late reports and fragments of means do not hold a size that is too small."""
    for seed in range(8):
        last = [(at, millicores, decision) for at, millicores, decision in rounds(seed, restarts) if at > STARVED_S]
        late = [each for each in last if each[0] > STARVED_S + CALM_S / 2]
        assert {millicores for _, millicores, _ in late} == {LARGE}, (seed, late)
