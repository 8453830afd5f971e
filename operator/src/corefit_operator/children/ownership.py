"""Whether an object with the name of a child belongs to the resource, and what to do about one that does not. Pure."""

from typing import Final

from corefit_core.naming import KIND
from corefit_core.spec.serving_spec import ServingSpec
from corefit_operator.diagnosis.problem import Problem, described
from corefit_operator.kube.metadata import controller
from corefit_operator.kube.workloads import Child

OF_KUBERNETES: Final = frozenset({("ServiceAccount", "default"), ("Service", "kubernetes")})
"""Children's kinds and names that the control plane makes: an account in each namespace, the API server's Service."""


def leaving(child: Child, spec: ServingSpec) -> bool:
    """Whether an object is about to go: somebody deletes it, or the garbage collector, as a deleted namesake's."""
    if child.metadata.deletion_timestamp is not None:
        return True
    owner = controller(child.metadata.owner_references)
    return owner.uid != spec.uid and (owner.kind, owner.name) == (KIND, spec.name)


def taken(child: Child, spec: ServingSpec) -> Problem | None:
    """That an object belongs to somebody else; None for one of the resource's, its owner edited away included."""
    return None if child.owned_by(spec.uid) else described("NameTaken", _advice(child))


def _advice(child: Child) -> str:
    """What to do about an object of others in a child's place; never to delete one that Kubernetes needs."""
    kind, name = child.kind, child.metadata.name
    if (kind, name) in OF_KUBERNETES:
        return (
            f"Kubernetes itself makes the {kind} {name}, so an InferenceService can't have that name. "
            "Delete this InferenceService and create it under another name."
        )
    return (
        f"A {kind} named {name} exists already, and Corefit did not make it. Create this InferenceService under "
        f"another name. If nothing needs that {kind}, you can delete it instead."
    )
