"""What the recommender gets to see: the pods as the view has them, with the newest report of each. Pure."""

from collections.abc import Mapping, Sequence

from corefit_core.recommender import Observation, PodObservation
from corefit_core.report import Report
from corefit_operator.kube import pod_cpu
from corefit_operator.kube.pods import Pod
from corefit_operator.kube.workloads import Child


def observation(
    pods: Sequence[Pod],
    reports: Mapping[str, tuple[float, Report]],
    workload: Child | None,
    room: Mapping[str, int],
    now: float,
) -> Observation:
    """One round.

    Args:
        pods: the live ones.
        reports: the newest of each, by uid, with the time at which it came.
        workload: theirs; None where it is not known.
        room: millicores that each node has left.
        now: monotonic seconds.
    """
    return Observation(
        pods=tuple(_pod(pod, reports, now) for pod in pods),
        replicas=workload.spec.replicas if workload is not None else len(pods),
        rollout=workload is not None and workload.rolling_out,
        headroom_millicores=room,
    )


def _pod(pod: Pod, reports: Mapping[str, tuple[float, Report]], now: float) -> PodObservation:
    at, report = reports.get(pod.metadata.uid, (now, None))
    return PodObservation(
        uid=pod.metadata.uid,
        ready=pod.ready,
        report=report,
        age_s=now - at,
        millicores=pod_cpu.requested(pod),
        node=pod.spec.node_name,
    )
