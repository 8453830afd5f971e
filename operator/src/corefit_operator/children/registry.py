"""All children of a resource. A new kind of child is a module of this package and a line of `CHILDREN`. Pure."""

from collections.abc import Callable
from typing import Final

from corefit_core.manifest import Manifest
from corefit_core.spec.serving_spec import ServingSpec
from corefit_operator.children import (
    deployment,
    disruption_budget,
    metadata,
    network_policy,
    service_account,
)
from corefit_operator.children import service as child_service
from corefit_operator.children.defaults import Defaults

CHILDREN: Final[tuple[Callable[[ServingSpec, Defaults], Manifest], ...]] = (
    service_account.manifest,
    network_policy.manifest,
    child_service.manifest,
    disruption_budget.manifest,
    deployment.manifest,
)
"""Their manifests, in the order in which they are written: the pods' surroundings before the pods."""


def desired(spec: ServingSpec, defaults: Defaults) -> tuple[Manifest, ...]:
    """The children of a resource that has a Deployment of its own, each with its hash."""
    return tuple(metadata.hashed(child(spec, defaults)) for child in CHILDREN)
