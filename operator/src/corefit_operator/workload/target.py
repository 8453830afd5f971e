"""A workload of others that gets the runtime as a sidecar: what was found of it, and whether it may be scaled. Pure."""

from collections.abc import Sequence
from typing import Literal

import msgspec

from corefit_core import naming
from corefit_core.manifest import Manifest
from corefit_core.pods import sidecar
from corefit_core.service import Service
from corefit_operator.children.defaults import Defaults
from corefit_operator.kube.pods import Pod
from corefit_operator.kube.workloads import Child

Offer = Literal["AtAdmission", "NotServed", "NotInstalled"]


class ObservedTarget(msgspec.Struct, frozen=True, kw_only=True):
    """What was found around a resource of mode Sidecar.

    Attributes:
        template: what goes into pods; None where the platform's policy forbids it.
        offer: how pods come by it.
        stale: live pods that were injected from an older state of the resource, or by another version.
        workload: what scaling.targetRef names; None when it names none, or one that isn't there or doesn't consent.
        consents: False when the workload is there and doesn't name the resource.
        autoscaler: the HorizontalPodAutoscaler that scales it already; empty when there is none.
    """

    template: Manifest | None
    offer: Offer
    stale: int = 0
    workload: Child | None = None
    consents: bool = True
    autoscaler: str = ""

    @property
    def scalable(self) -> bool:
        """Whether there is a workload that nobody else scales."""
        return self.workload is not None and not self.autoscaler


def consents(workload: Child, service: Service) -> bool:
    """Whether whoever owns a workload lets the resource scale it.

    Whoever may create a resource could otherwise stop any workload of the namespace, and read its figures.
    """
    injects = workload.spec.template.metadata.labels.get(naming.LABEL_INJECT) == naming.label_value(service.name)
    return injects or workload.metadata.annotations.get(naming.ANNOTATION_SCALED_BY) == service.name


def injection_template(service: Service, defaults: Defaults) -> Manifest:
    """What goes into pods of others, as a pod template."""
    return sidecar.stamped(
        sidecar.rendered(service, defaults.image, link_local=defaults.allow_link_local), defaults.version
    )


def stale(pods: Sequence[Pod], stamp: str) -> int:
    """How many of the pods bear another stamp than what would be put into them now."""
    return sum(pod.metadata.annotations.get(naming.ANNOTATION_INJECTED) != stamp for pod in pods)
