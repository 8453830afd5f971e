"""Corefit's own `decide` on the simulated pods' reports.

The same function runs in the operator; nothing of it is repeated here. May not correct what `decide` decides.
"""

import random
from collections import deque
from typing import Final

import msgspec

from corefit.simulate.flaws import Flaws
from corefit.simulate.outcome import Case, Outcome, Run, Setting
from corefit.simulate.scalers import View
from corefit_core.histogram import Histogram
from corefit_core.recommender import Decision, Observation, PodObservation, Policy, State, decide, routing
from corefit_core.recommender.routing import Balancer, RoutingState
from corefit_core.report import Report

NODE = "node"
"""All pods are simulated on one: what it has free is what the service's nodes have free together."""
RANGED_ROUND_S: Final = 1.0
"""With a range of CPU the round is what answers a surge: longer than a resize takes, it is the larger half."""


def run(case: Case, argument: str, run_case: Run) -> Outcome:
    """Corefit; with the argument `pods` without resizes."""
    setting = case.setting
    return run_case(case, Corefit(policy_of(setting, resizes=argument != "pods"), setting.flaws, setting.seed))


def policy_of(setting: Setting, *, resizes: bool = True) -> Policy:
    """Corefit's policy for the simulated service; without its range of CPU where nothing is resized."""
    service = setting.service
    ranged = service.cpu_range is not None and resizes
    return msgspec.structs.replace(
        setting.policy,
        objective=service.objective,
        max_replicas=setting.max_replicas,
        workers_per_pod=service.workers,
        millicores_per_pod=service.millicores,
        cpu_range=service.cpu_range if ranged else None,
        resize_s=service.resize_s,
        round_s=RANGED_ROUND_S if ranged else setting.policy.round_s,
    )


BALANCER: Final = Balancer(millicores=50, most=1000, request_s=0.0001)
"""As the operator makes it."""


class Corefit:
    """`decide`, in the rhythm of the operator's collector."""

    def __init__(self, policy: Policy, flaws: Flaws = Flaws(), seed: int = 1) -> None:  # noqa: B008  # frozen
        self.policy, self.flaws = policy, flaws
        self.period_s = policy.round_s
        self.state = State()
        self.routing = RoutingState()
        self.decisions: list[Decision] = []
        self._past: deque[tuple[float, dict[str, Report]]] = deque()
        self._random = random.Random(seed)  # noqa: S311  # simulated loss

    def replicas(self, view: View) -> int:
        """One round of collection and one decision."""
        self._past.append((view.now, {u: self._flawed(r) for u, r in view.fleet.reports(view.now).items()}))
        while len(self._past) > 1 and self._past[1][0] <= view.now - self.flaws.late_s:
            self._past.popleft()
        at, reports = self._past[0]
        pods = tuple(
            PodObservation(
                uid=pod.uid,
                ready=pod.ready(view.now),
                report=self._heard(reports, pod.uid),
                age_s=view.now - at,
                millicores=pod.millicores,
                node=NODE,
            )
            for pod in view.pods
        )
        headroom = {NODE: view.fleet.headroom()}
        seen = Observation(pods=pods, replicas=view.replicas, headroom_millicores=headroom)
        decision, self.state = decide(self.policy, self.state, seen, view.now)
        self.decisions.append(decision)
        view.fleet.resize(decision.grants, view.now)
        if view.fleet.service.balancing == "auto":
            self._route(view, decision)
        return decision.replicas

    def _route(self, view: View, decision: Decision) -> None:
        """Balancing Auto. A balancer serves at once, and costs from then on."""
        if decision.load is not None:
            self.routing = routing.followed(self.routing, self.policy, decision.load, BALANCER, view.now)
        view.fleet.requests.balance("least-loaded" if self.routing.queue else "random")
        if self.routing.queue:
            view.fleet.past += self.period_s * BALANCER.millicores / 1000

    def _heard(self, reports: dict[str, Report], uid: str) -> Report | None:
        if self.flaws.silent and self._random.random() < self.flaws.silent:
            return None
        return reports.get(uid)

    def _flawed(self, report: Report) -> Report:
        factor = self.flaws.service_factor
        if factor == 1:
            return report
        service = report.service_time
        counters = report.counters
        return msgspec.structs.replace(
            report,
            counters=msgspec.structs.replace(counters, busy_worker_seconds=counters.busy_worker_seconds * factor),
            service_time=Histogram(
                counts=service.counts, sum_s=service.sum_s * factor, sum_sq_s2=service.sum_sq_s2 * factor**2
            ),
        )
