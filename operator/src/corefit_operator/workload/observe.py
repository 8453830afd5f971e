"""A stage of the reconcile: the workload, its pods and their reports are looked at. May not decide anything."""

from collections.abc import Callable, Mapping

import msgspec

from corefit_core.burst import Verdict
from corefit_core.report import Report
from corefit_operator.cache.view import Key
from corefit_operator.collect import burst_window
from corefit_operator.collect.burst_window import BurstWindow
from corefit_operator.collect.collector import Collector
from corefit_operator.diagnosis import pod_problems
from corefit_operator.diagnosis.problem import Problem
from corefit_operator.kube.pods import Pod
from corefit_operator.workload.interface import ObservedWorkload, Sources, Workload
from corefit_operator.workload.shortage import Shortage, Shortages

Latest = Mapping[str, tuple[float, Report]]
"""The newest report of each pod, by uid, with the time at which it came."""


class ObservationState(msgspec.Struct, kw_only=True):
    """What is remembered of one resource's pods, and may be lost at any time.

    Attributes:
        latest: of each live pod.
        burst: what pods said of the CPU beyond their requests.
        shortage: of a pod that finds no node.
    """

    latest: Latest = msgspec.field(default_factory=dict)
    burst: BurstWindow = msgspec.field(default_factory=BurstWindow)
    shortage: Shortage | None = None


class Observed(msgspec.Struct, frozen=True, kw_only=True):
    """What was found.

    Attributes:
        workload: what has the replicas.
        pods: the live ones.
        reports: of this round, by pod uid.
        latest: the newest of each pod, of this round or an earlier one.
        problem: what keeps pods from serving.
        burst: whether nodes lend CPU beyond the requests; None where none is lent, or nothing is known.
    """

    workload: ObservedWorkload
    pods: tuple[Pod, ...] = ()
    reports: Mapping[str, Report] = msgspec.field(default_factory=dict)
    latest: Latest = msgspec.field(default_factory=dict)
    problem: Problem | None = None
    burst: Verdict | None = None

    @property
    def ready(self) -> int:
        """Pods that say they can serve."""
        return sum(pod.ready for pod in self.pods)


class Observer:
    """See the module.

    Args:
        clock: monotonic seconds.
    """

    def __init__(
        self, collector: Collector, sources: Sources, shortages: Shortages, clock: Callable[[], float]
    ) -> None:
        self._collector = collector
        self._sources = sources
        self._shortages = shortages
        self._clock = clock

    def pods(self, key: Key, workload: Workload) -> list[Pod]:
        """The pods of a resource, live or not."""
        return [pod for pod in self._sources.view.pods(key) if workload.owns(pod)]

    async def observe(self, key: Key, workload: Workload, *, allowed: bool, memory: ObservationState) -> Observed:
        """Asks the pods, and looks at the workload.

        Raises:
            ApiError: the API server can't be asked.
        """
        spec, pods = workload.spec, self.pods(key, workload)
        live = tuple(pod for pod in pods if pod.live)
        reports = await self._collector.collect(live)
        now = self._clock()
        memory.latest = _latest(memory.latest, live, reports, now)
        observed = await workload.observe(self._sources, live, allowed=allowed)
        short = memory.shortage = await self._shortages.look(live, memory.shortage)
        lacks = "" if short is None else short.text
        lends = spec.burst_millicores is not None
        return Observed(
            workload=observed,
            pods=live,
            reports=reports,
            latest=memory.latest,
            problem=pod_problems.problem(pods, reports, observed.scale_target, spec, lacks),
            burst=burst_window.look(reports, memory.burst, now) if lends else None,
        )


def _latest(before: Latest, live: tuple[Pod, ...], reports: Mapping[str, Report], now: float) -> Latest:
    known = {**before, **{uid: (now, report) for uid, report in reports.items()}}
    uids = {pod.metadata.uid for pod in live}
    return {uid: each for uid, each in known.items() if uid in uids}
