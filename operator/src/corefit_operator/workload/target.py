"""A workload of others whose pods get the runtime as a sidecar (mode Sidecar). May not decide what is scaled."""

from collections.abc import Mapping, Sequence

import msgspec

from corefit_core import naming
from corefit_core.manifest import Manifest
from corefit_core.pods import sidecar
from corefit_core.spec.serving_spec import ServingSpec
from corefit_operator.children.defaults import Defaults
from corefit_operator.diagnosis.condition import ConditionValue
from corefit_operator.kube.pods import Pod
from corefit_operator.kube.workloads import Child
from corefit_operator.workload import target_conditions
from corefit_operator.workload.interface import Situation, Sources
from corefit_operator.workload.sidecars import Surroundings


class ObservedTarget(msgspec.Struct, frozen=True, kw_only=True):
    """The workload and what is around it; see `ObservedWorkload`.

    Attributes:
        sidecar: what goes into pods; None where the platform's policy forbids it.
        stale: live pods that were injected from an older state of the resource, or by another version.
    """

    spec: ServingSpec
    around: Surroundings
    sidecar: Manifest | None
    stale: int = 0
    is_known: bool = True
    is_cached: bool = False

    @property
    def scale_target(self) -> Child | None:
        """What spec.scaling.targetRef names, where it consents."""
        return self.around.workload

    @property
    def is_scalable(self) -> bool:
        """Whether there is a workload that nobody else scales."""
        return self.scale_target is not None and not self.around.autoscaler

    def serving(self, ready: int) -> int:
        """All that are ready: how requests reach them is others' matter."""
        return ready

    def is_idle(self, present: int) -> bool:
        """Without pods and without a workload to scale."""
        return not present and not self.is_scalable

    def ready(self, situation: Situation) -> ConditionValue:
        """The condition Ready."""
        return target_conditions.ready(self.spec, situation)

    def progressing(self, situation: Situation) -> ConditionValue:
        """The condition Progressing."""
        return target_conditions.progressing(self.stale, situation)

    def injectable(self) -> ConditionValue | None:
        """The condition Injectable."""
        return target_conditions.injectable(self.around.offer, allowed=self.sidecar is not None)

    def not_scaling(self) -> ConditionValue | None:
        """The condition ScalingActive where nothing is scaled because of how things are."""
        return target_conditions.not_scaling(self.spec, self.around)


class TargetWorkload(msgspec.Struct, frozen=True):
    """See `Workload`."""

    spec: ServingSpec
    defaults: Defaults

    @property
    def children(self) -> tuple[Manifest, ...]:
        """None: all objects are others'."""
        return ()

    @property
    def start_millicores(self) -> int:
        """What the sidecar requests: how long a pod takes to start is the application's affair."""
        return self.spec.millicores

    @property
    def selector(self) -> Mapping[str, str]:
        """All pods that got the sidecar."""
        return naming.selector(self.spec.name)

    @property
    def template(self) -> Manifest:
        """What goes into pods, as a pod template."""
        defaults = self.defaults
        rendered = sidecar.rendered(self.spec, defaults.image, link_local=defaults.allow_link_local)
        return sidecar.stamped(rendered, defaults.version)

    def owns(self, pod: Pod) -> bool:
        """Every pod that has the sidecar."""
        del pod
        return True

    async def offer(self, sources: Sources) -> None:
        """Keeps the list of resources whose sidecar pods can get."""
        await sources.sidecars.keep_list()

    async def observe(self, sources: Sources, live: Sequence[Pod], *, allowed: bool) -> ObservedTarget:
        """Asks the API server for the workload and what is around it."""
        template = self.template
        return ObservedTarget(
            spec=self.spec,
            around=await sources.sidecars.look(self.spec),
            sidecar=template if allowed else None,
            stale=stale(live, sidecar.stamp_of(template)),
        )


def stale(pods: Sequence[Pod], stamp: str) -> int:
    """How many of the pods bear another stamp than what would be put into them now."""
    return sum(pod.metadata.annotations.get(naming.ANNOTATION_INJECTED) != stamp for pod in pods)
