"""What all children have in common: owner, labels, the selector of the pods, and the hash of the manifest. Pure."""

from typing import Any

from corefit_core import naming
from corefit_core.manifest import Manifest, fingerprint
from corefit_core.spec.serving_spec import ServingSpec


def manifest(spec: ServingSpec, api_version: str, kind: str, body: dict[str, Any], *, name: str = "") -> Manifest:
    """A child, named after the resource unless it has a name of its own, and owned by it."""
    metadata = {
        "name": name or spec.child_name,
        "namespace": spec.namespace,
        "labels": labels(spec),
        "ownerReferences": [_owner(spec)],
        "annotations": {naming.ANNOTATION_OWNER: spec.uid},
    }
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata, **body}


def hashed(child: Manifest) -> Manifest:
    """The child with the hash of what it says, in place of an earlier one."""
    metadata = child["metadata"]
    bare = {key: value for key, value in metadata["annotations"].items() if key != naming.ANNOTATION_APPLIED}
    hash_ = fingerprint({**child, "metadata": {**metadata, "annotations": bare}})
    return {**child, "metadata": {**metadata, "annotations": {**bare, naming.ANNOTATION_APPLIED: hash_}}}


def labels(spec: ServingSpec) -> dict[str, str]:
    """The labels of children and of the pods of the Deployment."""
    return {
        "app.kubernetes.io/name": "corefit-runtime",
        "app.kubernetes.io/instance": spec.child_name,
        naming.LABEL_MANAGED_BY: naming.MANAGED_BY,
        **naming.selector(spec.name),
    }


def own_pods(spec: ServingSpec) -> dict[str, str]:
    """What selects the pods of the Deployment, and none of others'.

    Pods that got the runtime from a resource of mode Sidecar of the same name, which is gone, bear its label until they
    are restarted: requests must not be sent to them, nor their ports be closed. A Deployment's selector can't be
    changed, and its pods are known by their owner anyway.
    """
    return {**naming.selector(spec.name), naming.LABEL_MANAGED_BY: naming.MANAGED_BY}


def balancer_pods(spec: ServingSpec) -> dict[str, str]:
    """What selects the pods of the balancer."""
    return {naming.LABEL_BALANCER: naming.label_value(spec.name), naming.LABEL_MANAGED_BY: naming.MANAGED_BY}


def _owner(spec: ServingSpec) -> dict[str, Any]:
    return {
        "apiVersion": f"{naming.GROUP}/{naming.VERSION}",
        "kind": naming.KIND,
        "name": spec.name,
        "uid": spec.uid,
        "controller": True,
        "blockOwnerDeletion": True,
    }
