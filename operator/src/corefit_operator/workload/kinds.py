"""Which workload a resource has: the one place of the operator that looks at `spec.mode`. Pure."""

from collections.abc import Mapping
from typing import Final

from corefit_core.spec.serving_spec import ServingSpec
from corefit_operator.children.defaults import Defaults
from corefit_operator.workload import owned_conditions, target_conditions
from corefit_operator.workload.interface import Workload
from corefit_operator.workload.owned import OwnedWorkload
from corefit_operator.workload.target import TargetWorkload

_REASONS: Final[tuple[Mapping[str, Mapping[str, str]], ...]] = (owned_conditions.REASONS, target_conditions.REASONS)


def of(spec: ServingSpec, defaults: Defaults) -> Workload:
    """The workload of a resource."""
    return TargetWorkload(spec, defaults) if spec.injected else OwnedWorkload(spec, defaults)


def reasons(type_: str) -> dict[str, str]:
    """The reasons that workloads give for a type of condition, and when."""
    found: dict[str, str] = {}
    for by_type in _REASONS:
        for reason, when in by_type.get(type_, {}).items():
            found[reason] = f"{found[reason]}, or {when}" if found.get(reason, when) != when else when
    return found
