"""What both kinds of pods, the runtime's and the balancer's, have around their containers. Pure.

Their rights, where they may run, how a rollout replaces them, and how many a drain of nodes may take away at once.
"""

from typing import Any, Final

from corefit_core.spec.serving_spec import ServingSpec

MIN_READY_S: Final = 2
"""Seconds that a pod is ready before it counts: by then every kube-proxy has its endpoint, so that a rollout takes
the old pod away, and we say Ready, only when requests do arrive; without it the first ones were refused."""


def rollout() -> dict[str, Any]:
    """Of a Deployment: how it replaces pods, never taking one away before another is there."""
    rolling = {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}}
    return {"strategy": rolling, "minReadySeconds": MIN_READY_S}


def surroundings(spec: ServingSpec, account: str, grace_s: int) -> dict[str, Any]:
    """Of a pod: rights, termination, and where the resource's template lets it run.

    Args:
        spec: of the resource.
        account: the name of the pod's service account, of which it gets no token.
        grace_s: seconds from SIGTERM until the kubelet kills it.
    """
    template = spec.template
    scheduling = {
        "nodeSelector": template.node_selector,
        "tolerations": list(template.tolerations),
        "priorityClassName": template.priority_class_name or None,
        "imagePullSecrets": [{"name": secret.name} for secret in template.image_pull_secrets],
    }
    return {
        "serviceAccountName": account,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": grace_s,
        "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
        **{key: value for key, value in scheduling.items() if value},
    }


def spread_over_nodes(pods: dict[str, str]) -> list[dict[str, Any]]:
    """Of a pod: it goes to a node with fewer of the pods with these labels where there is one."""
    nodes = {"topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "ScheduleAnyway"}
    return [{"maxSkew": 1, **nodes, "labelSelector": {"matchLabels": pods}}]


def one_away_at_once(pods: dict[str, str]) -> dict[str, Any]:
    """Of a PodDisruptionBudget: drains of nodes take one of the pods with these labels at a time."""
    # A pod that can't become ready must not hold up the drain of its node.
    return {"maxUnavailable": 1, "selector": {"matchLabels": pods}, "unhealthyPodEvictionPolicy": "AlwaysAllow"}
