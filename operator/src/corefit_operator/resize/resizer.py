"""CPU in place: asks for the sizes that pods are to have, and finds out what came of it.

One request a pod, on `pods/resize`, with the pod's uid as precondition. What the kubelet does not grant is taken
back, so that the scheduler has the room for another pod, and its node is left alone for a while: the need then goes
to replicas. A cluster that can't resize is noticed once, and everything is left to replicas. May not decide sizes:
that is `sizes`' and the recommender's.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from typing import Final

import msgspec

from corefit_core.report import Report
from corefit_core.spec.serving_spec import ServingSpec
from corefit_operator.cache.view import Key, View
from corefit_operator.diagnosis.problem import Problem, described
from corefit_operator.kube import pod_cpu
from corefit_operator.kube.api_error import ApiError
from corefit_operator.kube.cluster import Cluster
from corefit_operator.kube.pods import Pod, decode_pod
from corefit_operator.resize import sizes
from corefit_operator.resize.node_headroom import Headroom
from corefit_operator.resize.sizes import Sized, SizingInput, Step
from corefit_operator.telemetry.metrics import Metrics
from corefit_operator.telemetry.recorder import Budget

LOG: Final = logging.getLogger(__name__)
GRACE_S: Final = 1.0
"""Seconds that a deferred resize may wait: another pod's shrinking, requested at the same time, frees the room."""
SILENT_S: Final = 10.0
"""Seconds after which a resize that the kubelet says nothing of counts as one that it doesn't do: it takes 0.1.

Its node is left alone for as long, and twice as long each further time: a kubelet that is short of CPU is only slow."""
BLOCKED_S: Final = 60.0
"""Seconds until a node that had no room, or a namespace whose quota had none, is asked again."""
UNSUPPORTED_S: Final = 600.0
"""Seconds until a cluster that can't resize, or a node whose kubelet won't, is asked again: upgrades are rare."""
FAILED_S: Final = 5.0
"""Seconds until a resize that the API server could not carry out is requested again."""
ALL: Final = ""
"""In place of a node: everywhere."""


class PendingResize(msgspec.Struct, frozen=True, kw_only=True):
    """A resize that was requested and is not yet in force in the process."""

    millicores: int
    at: float
    grows: bool = False


class Blocked(msgspec.Struct, frozen=True, kw_only=True):
    """Where nothing is grown for a while, and why."""

    until: float
    problem: Problem


class ResizeState(msgspec.Struct, kw_only=True):
    """What is remembered of one resource's resizes, and may be lost at any time.

    Attributes:
        pending: resizes that are not in force yet, by pod uid.
        blocked: by node, or `ALL`.
        ignored: by node, seconds for which it was left alone since its kubelet said nothing of a resize. Until the
            kubelet grants one.
        budget: of Events; resizes are frequent, and must not use up what the rest has to say.
    """

    pending: dict[str, PendingResize] = msgspec.field(default_factory=dict)
    blocked: dict[str, Blocked] = msgspec.field(default_factory=dict)
    ignored: dict[str, float] = msgspec.field(default_factory=dict)
    budget: Budget = msgspec.field(default_factory=Budget)

    def ignored_again_s(self, node: str) -> float:
        """Seconds for which to leave a node alone whose kubelet says nothing of one more resize."""
        self.ignored[node] = min(UNSUPPORTED_S, 2 * self.ignored.get(node, SILENT_S / 2))
        return self.ignored[node]


class Resizer:
    """See the module.

    Args:
        clock: monotonic seconds.
    """

    def __init__(
        self, cluster: Cluster, view: View, headroom: Headroom, metrics: Metrics, clock: Callable[[], float]
    ) -> None:
        self._cluster = cluster
        self._view = view
        self._headroom = headroom
        self._metrics = metrics
        self._clock = clock
        self._unsupported: Blocked | None = None
        self._supported_at: float | None = None

    async def is_supported(self) -> bool:
        """Whether the cluster can resize at all; looked at once, and again when it could not.

        Raises:
            ApiError: it can't be asked.
        """
        now = self._clock()
        if self._unsupported is not None and now < self._unsupported.until:
            return False
        if self._supported_at is None or self._unsupported is not None:
            if not await self._cluster.resizable():
                self._give_up("ResizeNotSupported", "the API server has no pods/resize")
                return False
            self._supported_at, self._unsupported = now, None
        return True

    async def room(self, spec: ServingSpec, pods: Sequence[Pod], memory: ResizeState) -> Mapping[str, int]:
        """CPU by which the pods of each node may grow, in millicores; nodes that had none lately have none."""
        memory.blocked = {node: each for node, each in memory.blocked.items() if each.until > self._clock()}
        span = spec.policy.cpu_range
        nodes = {pod.spec.node_name for pod in pods if pod.spec.node_name}
        if span is None or ALL in memory.blocked:
            return {}
        try:
            known = await self._headroom.of(nodes)
        except ApiError as error:
            LOG.warning(
                "%s/%s: the nodes' room is not known, so none is counted on: %s",
                spec.namespace,
                spec.name,
                error,
            )
            return {}
        # Not known is not none: the kubelet answers within a tenth of a second.
        most = span.max_millicores * len(pods)
        found = {node: most if known is None else known[node].millicores for node in nodes}
        return {node: max(0, left) for node, left in found.items() if node not in memory.blocked}

    async def resize(self, key: Key, scene: SizingInput, memory: ResizeState) -> Sized:
        """Asks for the sizes that the started pods are to have.

        Raises:
            ApiError: something that a retry may mend.
        """
        pods = scene.pods
        self._keep_books(pods, memory)
        withdrawn = self._withdrawn(key, pods, memory) if scene.spec.mode != "Recommend" else []
        taken = {step.pod.metadata.uid for step in withdrawn}
        free = [s for s in sizes.steps(scene) if s.pod.metadata.uid not in taken]
        steps = [*withdrawn, *(s for s in free if not (s.grows and self._stopped(s, memory)))]
        done = await self._ask(key, steps, memory) if steps and await self.is_supported() else ()
        return Sized(
            wanted=sizes.wanted(scene),
            granted=tuple(pod_cpu.actual(pod) for pod in pods),
            steps=done,
            waiting=len(memory.pending),
            problem=self._problem(memory),
        )

    def arrived(self, key: Key, reports: Mapping[str, Report], memory: ResizeState) -> None:
        """Takes note of resizes that are in force in the process, by its own report."""
        for uid, each in list(memory.pending.items()):
            report = reports.get(uid)
            if report is not None and report.plan.grant_millicores == each.millicores:
                self._metrics.resize(key, "granted")
                self._metrics.resize_seconds.labels(*key).observe(self._clock() - each.at)
                del memory.pending[uid]

    def _keep_books(self, pods: Sequence[Pod], memory: ResizeState) -> None:
        """Forgets resizes of pods that are gone, and those that the process can't tell of; notes those of others."""
        now, before, memory.pending = self._clock(), memory.pending, {}
        for pod in pods:
            uid, wanted, given = pod.metadata.uid, pod_cpu.desired(pod), pod_cpu.actual(pod)
            known = before.get(uid)
            # A process that may use fewer CPUs than it is granted never reports the grant.
            settled = wanted == given and (known is None or now - known.at > SILENT_S)
            if known is not None and known.grows and wanted == given:
                memory.ignored.pop(pod.spec.node_name, None)
            if wanted and not settled:
                # Somebody else's, or ours before a restart: the kubelet has had its time to grant it.
                memory.pending[uid] = known or PendingResize(millicores=wanted, at=now - GRACE_S)

    def _withdrawn(self, key: Key, pods: Sequence[Pod], memory: ResizeState) -> list[Step]:
        """What is to be taken back, since the kubelet doesn't grant it; its node is left alone from now on."""
        found = []
        for pod in pods:
            problem = self._not_granted(pod, memory.pending.get(pod.metadata.uid))
            if problem is None:
                continue
            node, seconds = pod.spec.node_name, BLOCKED_S if problem.reason == "ResizeDeferred" else UNSUPPORTED_S
            if problem.reason == "ResizeIgnored":
                seconds = memory.ignored_again_s(node)
            memory.blocked[node] = Blocked(until=self._clock() + seconds, problem=problem)
            memory.pending.pop(pod.metadata.uid, None)
            self._metrics.resize(key, _outcome(problem))
            found.append(Step(pod=pod, before=pod_cpu.desired(pod), millicores=pod_cpu.actual(pod)))
        return found

    def _not_granted(self, pod: Pod, waited: PendingResize | None) -> Problem | None:
        waited_s = self._clock() - waited.at if waited is not None else SILENT_S
        if pod_cpu.desired(pod) <= pod_cpu.actual(pod):
            return None
        pending = pod_cpu.resize_pending(pod)
        name, cpu = pod.metadata.name, sizes.span_text([pod_cpu.desired(pod)])
        if pending is not None and (pending.reason == "Infeasible" or waited_s >= GRACE_S):
            return described(f"Resize{pending.reason}", f"pod {name} does not get {cpu} of CPU: {pending.message}")
        if pending is None and waited_s > SILENT_S:
            return described(
                "ResizeIgnored", f"the kubelet has not changed the CPU of pod {name} to {cpu}, and does not say why"
            )
        return None

    def _stopped(self, step: Step, memory: ResizeState) -> bool:
        return ALL in memory.blocked or step.pod.spec.node_name in memory.blocked

    async def _ask(self, key: Key, steps: Sequence[Step], memory: ResizeState) -> tuple[Step, ...]:
        """Shrinks first, then grows: what some give back is room for others."""
        done: list[Step] = []
        for group in ([s for s in steps if not s.grows], [s for s in steps if s.grows]):
            outcomes = await asyncio.gather(*(self._one(key, s, memory) for s in group), return_exceptions=True)
            failed = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
            if failed:
                raise failed[0]
            done += [step for step, asked in zip(group, outcomes, strict=True) if asked]
        return tuple(done)

    async def _one(self, key: Key, step: Step, memory: ResizeState) -> bool:
        """Asks for one resize; False when the pod is gone, or when it was refused."""
        meta, at = step.pod.metadata, self._clock()
        body = pod_cpu.resize_patch(step.pod, step.millicores)
        try:
            pod = decode_pod(await self._cluster.resize(meta, body))
        except ApiError as error:
            return self._refused(key, step, error, memory)
        self._view.put_pod(pod)
        self._headroom.take(pod.spec.node_name, step.millicores - step.before)
        self._metrics.resize(key, "wanted")
        memory.pending[meta.uid] = PendingResize(millicores=step.millicores, at=at, grows=step.grows)
        return True

    def _refused(self, key: Key, step: Step, error: ApiError, memory: ResizeState) -> bool:
        missing = error.status == HTTPStatus.NOT_FOUND and "could not find the requested resource" in str(error)
        if missing or error.status == HTTPStatus.METHOD_NOT_ALLOWED:
            self._give_up("ResizeNotSupported", str(error))
        elif error.status == HTTPStatus.FORBIDDEN and "cannot patch resource" in str(error):
            # Rights are given by namespace as well: one without them must not cost the others their resizes.
            problem = described("ResizeNotAllowed", str(error))
            memory.blocked[ALL] = Blocked(until=self._clock() + UNSUPPORTED_S, problem=problem)
        elif "enough allocatable resources" in str(error):  # Kubernetes 1.36 says so before the kubelet is asked
            problem = described("ResizeInfeasible", str(error))
            memory.blocked[step.pod.spec.node_name] = Blocked(until=self._clock() + UNSUPPORTED_S, problem=problem)
        elif error.refused:
            reason = "QuotaExceeded" if "exceeded quota" in str(error) else "ResizeRefused"
            memory.blocked[ALL] = Blocked(until=self._clock() + BLOCKED_S, problem=described(reason, str(error)))
        elif error.status in (HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT):
            return False  # replaced by another pod meanwhile: the next round sees that one
        else:
            wait = max(FAILED_S, error.retry_after_s or 0.0)
            memory.blocked[ALL] = Blocked(until=self._clock() + wait, problem=described("ResizeFailed", str(error)))
        self._metrics.resize(key, "refused")
        return False

    def _give_up(self, reason: str, message: str) -> None:
        LOG.warning("no CPU in place: %s: %s", reason, message)
        self._unsupported = Blocked(until=self._clock() + UNSUPPORTED_S, problem=described(reason, message))

    def _problem(self, memory: ResizeState) -> Problem | None:
        if self._unsupported is not None:
            return self._unsupported.problem
        return next((each.problem for each in memory.blocked.values()), None)


def _outcome(problem: Problem) -> str:
    return {"ResizeDeferred": "deferred", "ResizeInfeasible": "infeasible"}.get(problem.reason, "ignored")
