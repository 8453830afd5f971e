"""What an hour of pods costs: as they are, as they are decided, and as most people would run them.

May not choose replicas.
"""

import math
from collections.abc import Mapping

from corefit_core.recommender.types import Observation, Policy


def per_hour(policy: Policy, seen: Observation, replicas: int, grants: Mapping[str, int]) -> float:
    """An hour of so many pods: those that are there as they are granted, the others as new ones begin."""
    base = policy.millicores_per_pod
    sizes = [p.millicores or base for p in seen.pods]
    if grants:
        sizes = [grants.get(p.uid, size) for p, size in zip(seen.pods, sizes, strict=True)]
    if replicas < len(sizes):
        sizes = sorted(sizes)[:replicas]
    millicores = sum(sizes) + base * (replicas - len(sizes))
    return policy.price.per_hour(millicores, replicas * policy.memory_bytes_per_pod)


def naive_per_hour(policy: Policy, erlangs: float, workers: float) -> float:
    """An hour of the baseline: unsized pods at the CPU target of its autoscaler, within the same bounds."""
    needed = math.ceil(erlangs / (policy.naive_throughput * policy.naive_utilization * workers))
    replicas = max(policy.min_replicas, min(policy.max_replicas, needed))
    return policy.price.per_hour(policy.millicores_per_pod, policy.memory_bytes_per_pod) * replicas
