"""What balances now, the queue or the Service itself, and why. Pure.

The queue takes over once a balancer serves, and the Service by itself whenever none does: nothing waits for a balancer
that can't come.
"""

from typing import Final

import msgspec

from corefit_core.spec.serving_spec import ServingSpec
from corefit_operator.balancer import config
from corefit_operator.children.defaults import Defaults
from corefit_operator.diagnosis import pod_problems
from corefit_operator.diagnosis.problem import Problem
from corefit_operator.kube.workloads import Child, DeploymentStatus

REASONS: Final = {
    "Queue": "a balancer serves, and requests go through it",
    "Starting": "no balancer is ready yet",
    "OnePod": "there is at most one pod",
    "TooManyPods": "there may be more pods than the balancer can find",
    "NoImage": "the operator has no image of HAProxy",
}
"""Of the condition BalancerReady, and when each is said; a problem has its own."""
_DIRECT: Final = "The Service sends each connection to a pod by itself"


class Balancing(msgspec.Struct, frozen=True, kw_only=True):
    """What balances.

    Attributes:
        queue: requests go through the balancer.
        wanted: a balancer is to be there, whether it is or not.
        pods: of the balancer, serving or not.
        reason, message: of the condition BalancerReady; empty where nobody wants more than the Service.
    """

    queue: bool = False
    wanted: bool = False
    pods: int = 0
    reason: str = ""
    message: str = ""


class Sight(msgspec.Struct, frozen=True, kw_only=True):
    """What there is of a balancer.

    Attributes:
        deployment: the balancer's; None as long as there is none.
        serving: whether a pod of the resource serves.
        routed: whether the Service sends to the balancer.
        refused: why the API server, or a namesake, doesn't let a child of the balancer be.
        worth: by the load one queue is worth its balancer.
    """

    deployment: Child | None = None
    serving: bool = False
    routed: bool = False
    refused: Problem | None = None
    worth: bool = False

    @property
    def there(self) -> bool:
        """Whether a balancer has pods, or is to have them."""
        return self.deployment is not None and self.deployment.spec.replicas > 0


def look(spec: ServingSpec, sight: Sight, defaults: Defaults) -> Balancing:
    """What balances the requests of a resource."""
    if not _is_wanted(spec, sight):
        return Balancing()
    return _impossible(spec, defaults) or _queue(sight)


def _is_wanted(spec: ServingSpec, sight: Sight) -> bool:
    """Whether there is to be a queue if there can be: by the resource's word, or by what it saves.

    In mode Manual it saves nothing. Mode Recommend changes nothing: a balancer that is there stays.
    """
    if spec.balancing != "Auto":
        return spec.balancing == "Queue"
    chosen = {"Auto": sight.worth, "Recommend": sight.there, "Manual": False}
    return spec.may_have_queue and chosen[spec.mode]


def _impossible(spec: ServingSpec, defaults: Defaults) -> Balancing | None:
    pods = config.most_pods(spec)
    if pods <= 1:
        message = f"{_DIRECT}: with one pod there is nothing to balance. Raise spec.scaling.maxReplicas to use a queue."
        return Balancing(reason="OnePod", message=message)
    if pods > config.MOST_PODS:
        message = f"{_DIRECT}: a balancer finds at most {config.MOST_PODS} pods, and there may be {pods}."
        return Balancing(reason="TooManyPods", message=message)
    if not defaults.balancer_image:
        message = f"{_DIRECT}: Corefit was installed without an image of HAProxy. Set the chart's value balancerImage."
        return Balancing(reason="NoImage", message=message)
    return None


def _queue(sight: Sight) -> Balancing:
    status = sight.deployment.status if sight.deployment is not None else DeploymentStatus()
    # A balancer takes no room before there is a pod that it could send to.
    wanted, pods = sight.serving or sight.deployment is not None, status.replicas
    if _serves(sight):
        ready = status.available_replicas
        balancers = "1 balancer" if ready == 1 else f"{ready} balancers"
        message = f"Requests go through {balancers}, each to the pod with the fewest requests."
        return Balancing(queue=True, wanted=True, pods=pods, reason="Queue", message=message)
    problem = sight.refused or pod_problems.of_deployment(sight.deployment)
    waiting = f"{_DIRECT} until a balancer serves"
    if problem is not None:
        return Balancing(wanted=wanted, pods=pods, reason=problem.reason, message=f"{waiting}: {problem.message}")
    message = f"{waiting}. The balancer is starting."
    return Balancing(wanted=wanted, pods=pods, reason="Starting", message=message)


def _serves(sight: Sight) -> bool:
    """Whether a balancer is there to send to.

    One that is about to go counts until the controller of Deployments has looked: the Service is not sent there for it.
    """
    deployment = sight.deployment
    if deployment is None or not sight.there or not deployment.status.available_replicas:
        return False
    return sight.routed or deployment.status.observed_generation >= deployment.metadata.generation
