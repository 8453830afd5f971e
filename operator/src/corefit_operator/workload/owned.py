"""The Deployment that Corefit owns, and its pods. May not decide what is scaled."""

from collections.abc import Mapping, Sequence

import msgspec

from corefit_core.manifest import Manifest
from corefit_core.spec.serving_spec import ServingSpec
from corefit_operator.cache.view import Key
from corefit_operator.children import deployment, metadata, registry
from corefit_operator.children.defaults import Defaults
from corefit_operator.diagnosis.condition import ConditionValue
from corefit_operator.kube.pods import Pod
from corefit_operator.kube.workloads import Child
from corefit_operator.workload import owned_conditions
from corefit_operator.workload.interface import Situation, Sources


class ObservedDeployment(msgspec.Struct, frozen=True, kw_only=True):
    """The Deployment as the view has it; see `ObservedWorkload`."""

    spec: ServingSpec
    scale_target: Child | None
    is_scalable: bool = True
    is_cached: bool = True
    sidecar: Manifest | None = None
    stale: int | None = None

    @property
    def is_known(self) -> bool:
        """Not before there is a Deployment."""
        return self.scale_target is not None

    def serving(self, ready: int) -> int:
        """Pods that have been ready for long enough that requests reach them."""
        return min(ready, self.scale_target.status.available_replicas) if self.scale_target else 0

    def is_idle(self, present: int) -> bool:
        """Never: its pods are Corefit's to bring about."""
        del present
        return False

    def ready(self, situation: Situation) -> ConditionValue:
        """The condition Ready."""
        return owned_conditions.ready(self.spec, self.scale_target, self.serving(situation.ready), situation)

    def progressing(self, situation: Situation) -> ConditionValue:
        """The condition Progressing."""
        return owned_conditions.progressing(self.scale_target, self.serving(situation.ready), situation)

    def injectable(self) -> ConditionValue | None:
        """Its pods have the runtime from their template."""
        return None

    def not_scaling(self) -> ConditionValue | None:
        """Nothing keeps Corefit from scaling it."""
        return None


class OwnedWorkload(msgspec.Struct, frozen=True):
    """See `Workload`."""

    spec: ServingSpec
    defaults: Defaults

    @property
    def children(self) -> tuple[Manifest, ...]:
        """All that there are."""
        return registry.desired(self.spec, self.defaults)

    @property
    def start_millicores(self) -> int:
        """What the Deployment's template gives."""
        return deployment.start_millicores(self.spec, self.defaults)

    @property
    def selector(self) -> Mapping[str, str]:
        """The pods of the Deployment, and none of others'."""
        return metadata.own_pods(self.spec)

    def owns(self, pod: Pod) -> bool:
        """Whether the Deployment made it, whoever else bears the label."""
        return pod.made_by(self.spec.child_name)

    async def offer(self, sources: Sources) -> None:
        """Nothing: users send requests to the Service."""

    async def observe(self, sources: Sources, live: Sequence[Pod], *, allowed: bool) -> ObservedDeployment:
        """What the view has of the Deployment."""
        del live, allowed
        children = sources.view.children(Key(self.spec.namespace, self.spec.name))
        found = children.get(("Deployment", self.spec.child_name))
        return ObservedDeployment(spec=self.spec, scale_target=found)
