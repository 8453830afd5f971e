"""What the pods of a resource cost. Pure."""

from collections.abc import Sequence

from corefit_core.quantity import parse_bytes
from corefit_core.spec.serving_spec import ServingSpec
from corefit_operator.balancer import manifests
from corefit_operator.kube import pod_cpu
from corefit_operator.kube.pods import Pod


def per_hour(spec: ServingSpec, pods: Sequence[Pod], balancers: int) -> float:
    """Cost an hour, in the resource's currency, of what nodes hold for the pods and for so many of the balancer's.

    A pod without a node (Unschedulable, or not yet scheduled) holds nothing and costs nothing.
    """
    policy, scheduled = spec.policy, [pod for pod in pods if pod.spec.node_name]
    millicores = sum(pod_cpu.requested(pod) or policy.millicores_per_pod for pod in scheduled)
    return policy.price.per_hour(
        millicores + balancers * manifests.MILLICORES,
        len(scheduled) * policy.memory_bytes_per_pod + balancers * parse_bytes(manifests.MEMORY),
    )
