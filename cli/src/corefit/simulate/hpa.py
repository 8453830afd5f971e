"""The HorizontalPodAutoscaler v2 on CPU, as kube-controller-manager computes it.

Compared with kubernetes/kubernetes pkg/controller/podautoscaler/replica_calculator.go (GetResourceReplicas and
groupPods, at commit 0006726): utilisation in whole percent, tolerance 0.1, unready and missing pods counted as 0 %
for going up and missing ones as 100 % for going down. The rest by the defaults of autoscaling/v2: 15 s sync, 300 s of
down-stabilization, up by +4 pods or +100 % a 15 s whichever is more. May not know of queues or objectives.
"""

import math
from typing import Final

import msgspec

from corefit.simulate.fleet import Pod
from corefit.simulate.outcome import Case, Outcome, Run
from corefit.simulate.scalers import View

SYNC_S: Final = 15.0
TOLERANCE: Final = 0.1
DOWN_STABILIZATION_S: Final = 300.0
UP_PODS: Final = 4
UP_PERIOD_S: Final = 15.0
CPU_INITIALISATION_S: Final = 300.0
INITIAL_READINESS_DELAY_S: Final = 30.0
METRIC_WINDOW_S: Final = 15.0
"""metrics-server scrapes each 15 s and gives the CPU used between two scrapes."""


DEFAULT_TARGET: Final = 70.0
"""Percent of CPU, what most examples of Kubernetes use."""


def run(case: Case, argument: str, run_case: Run) -> Outcome:
    """The HPA; the argument is its target in percent."""
    return run_case(case, Hpa(float(argument or DEFAULT_TARGET), case.setting.max_replicas))


def run_unsized(case: Case, argument: str, run_case: Run) -> Outcome:
    """The same over pods whose threads nobody sized, so that each request takes them longer."""
    share, service = case.setting.unsized, case.setting.service
    slower = msgspec.structs.replace(service, service_s=service.service_s / share)
    setting = msgspec.structs.replace(case.setting, service=slower)
    return run(case._replace(setting=setting, work=case.work / share), argument, run_case)


class Hpa:
    """CPU utilisation kept at `target` percent of the request (which is what a pod's workers can use)."""

    period_s = SYNC_S

    def __init__(self, target: float, max_replicas: int, min_replicas: int = 1) -> None:
        self.target, self.max, self.min = target, max_replicas, min_replicas
        self._used: dict[str, float] = {}
        self._recommended: list[tuple[float, int]] = []
        self._ups: list[tuple[float, int]] = []

    def replicas(self, view: View) -> int:
        """One sync."""
        current, now = view.replicas, view.now
        desired = self._desired(view, self._metrics(view))
        self._recommended = [(at, n) for at, n in self._recommended if now - at < DOWN_STABILIZATION_S]
        self._recommended.append((now, desired))
        if desired < current:
            desired = min(current, max(n for _, n in self._recommended))
        wanted = max(self.min, min(self.max, self._limit_up(current, now), desired))
        if wanted > current:
            self._ups.append((now, wanted - current))
        return wanted

    def _metrics(self, view: View) -> dict[str, float]:
        """CPU of each pod in percent of its request, where metrics-server has two scrapes of it."""
        used = {pod.uid: view.fleet.busy_seconds(pod, view.now) for pod in view.pods if pod.ready_at <= view.now}
        workers = view.fleet.service.workers
        metrics = {
            uid: 100 * (seconds - self._used[uid]) / SYNC_S / workers
            for uid, seconds in used.items()
            if uid in self._used
        }
        # A starting pod is scraped as well; importing its libraries, it counts as unready whatever it uses.
        starting = {pod.uid: 0.0 for pod in view.pods if pod.created < view.now - SYNC_S and pod.uid not in used}
        self._used = used
        return {**metrics, **starting}

    def _desired(self, view: View, metrics: dict[str, float]) -> int:
        current = view.replicas
        unready = {pod.uid for pod in view.pods if self._unready(pod, view.now, pod.uid in metrics)}
        missing = {pod.uid for pod in view.pods if pod.uid not in metrics} - unready
        ready = {uid: used for uid, used in metrics.items() if uid not in unready}
        if not ready:
            return current
        ratio = self._ratio(ready)
        rebalance = bool(unready) and ratio > 1
        if not rebalance and not missing:
            return current if abs(ratio - 1) <= TOLERANCE else math.ceil(ratio * len(ready))
        filled = dict(ready)
        if ratio < 1:
            filled.update(dict.fromkeys(missing, max(100.0, self.target)))
        elif ratio > 1:
            filled.update(dict.fromkeys(missing, 0.0))
        if rebalance:
            filled.update(dict.fromkeys(unready, 0.0))
        again = self._ratio(filled)
        if abs(again - 1) <= TOLERANCE or (ratio < 1 < again) or (ratio > 1 > again):
            return current
        wanted = math.ceil(again * len(filled))
        reversed_ = (again < 1 and wanted > current) or (again > 1 and wanted < current)
        return current if reversed_ else wanted

    def _ratio(self, metrics: dict[str, float]) -> float:
        """Of the utilisation to its target; the original keeps the utilisation in whole percent."""
        return math.floor(sum(metrics.values()) / len(metrics)) / self.target

    def _unready(self, pod: Pod, now: float, measured: bool) -> bool:
        if now < pod.created + CPU_INITIALISATION_S:
            # Its metric must be of a window that lies wholly after it became ready.
            return measured and (pod.ready_at > now or now < pod.ready_at + METRIC_WINDOW_S)
        return measured and pod.ready_at > now and pod.created + INITIAL_READINESS_DELAY_S > pod.ready_at

    def _limit_up(self, current: int, now: float) -> int:
        self._ups = [(at, n) for at, n in self._ups if now - at < UP_PERIOD_S]
        begin = current - sum(n for _, n in self._ups)
        return max(begin + UP_PODS, begin * 2)
