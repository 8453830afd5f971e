"""How much CPU a pod may have and how many pods there may be, as a resource says it. May not do I/O."""

from typing import Final

from msgspec import UNSET

from corefit_core.api import inference_service as api
from corefit_core.errors import InvalidInput
from corefit_core.quantity import parse_millicores
from corefit_core.recommender import CpuRange, Policy, Price
from corefit_core.recommender.measurement import MAX_WORKERS
from corefit_core.sizing import Objective
from corefit_core.spec.field import field


def policy(spec: api.InferenceServiceSpec, millicores: int, memory_bytes: int) -> Policy:
    """What the recommender keeps to.

    Raises:
        InvalidInput: the fields contradict each other.
    """
    scaling, objective, window_s = spec.scaling, spec.objective, spec.scaling.down_stabilization_seconds
    if scaling.min_replicas > scaling.max_replicas:
        raise InvalidInput("spec.scaling: minReplicas must not be above maxReplicas")
    return Policy(
        objective=Objective(percentile=objective.percentile, latency_s=objective.latency_milliseconds / 1000),
        min_replicas=scaling.min_replicas,
        max_replicas=scaling.max_replicas,
        cpu_range=_cpu_range(spec, millicores),
        millicores_per_pod=millicores,
        memory_bytes_per_pod=memory_bytes,
        price=Price(
            core_hour=field("spec.price.coreHour", float, spec.price.core_hour),
            gib_hour=field("spec.price.gibHour", float, spec.price.gib_hour),
            currency=spec.price.currency,
        ),
        down_window_s=None if window_s is UNSET else float(window_s),
    )


MOST_MILLICORES: Final = 1000 * MAX_WORKERS
"""More cores than any node has. Each size that is looked at costs time in each round, and more would be 300 of them."""


def _cpu_range(spec: api.InferenceServiceSpec, least: int) -> CpuRange | None:
    """What a pod may be resized to; None where it may not."""
    most = _most(spec, least)
    if most is None or spec.resources.growth == "Burst":
        return None
    most = min(most, MOST_MILLICORES)
    return CpuRange(min_millicores=least, max_millicores=most) if most > least else None


def burst(spec: api.InferenceServiceSpec, least: int) -> int | None:
    """The limit of pods that may use what their node has idle; None where the limit is the request."""
    if spec.resources.growth != "Burst":
        return None
    most = _most(spec, least)
    if most is None:
        raise InvalidInput("spec.resources: growth Burst needs maxCPU")
    return most


def _most(spec: api.InferenceServiceSpec, least: int) -> int | None:
    if spec.resources.max_cpu is UNSET:
        return None
    most = field("spec.resources.maxCPU", parse_millicores, spec.resources.max_cpu)
    if most < least:
        raise InvalidInput("spec.resources: maxCPU must not be below cpu")
    return most


def startup(spec: api.InferenceServiceSpec, least: int) -> int | None:
    """CPU that a pod starts with by the resource's own word; None where it says nothing."""
    if spec.startup is UNSET or spec.startup.cpu is UNSET:
        return None
    if spec.resources.growth == "Burst":
        raise InvalidInput(
            "spec.startup.cpu needs resources.growth Resize: with Burst a pod may use maxCPU from the start"
        )
    millicores = field("spec.startup.cpu", parse_millicores, spec.startup.cpu)
    if millicores < least:
        raise InvalidInput("spec.startup: cpu must not be below spec.resources.cpu")
    return millicores
