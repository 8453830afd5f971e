"""What all children have in common: owner, labels, the selector of the pods, and the hash of the manifest. Pure."""

from typing import Any

from corefit_core import naming
from corefit_core.manifest import Manifest, fingerprint
from corefit_core.service import Service


def manifest(service: Service, api_version: str, kind: str, body: dict[str, Any]) -> Manifest:
    """A child, named after the resource and owned by it."""
    metadata = {
        "name": service.child_name,
        "namespace": service.namespace,
        "labels": labels(service),
        "ownerReferences": [_owner(service)],
        "annotations": {naming.ANNOTATION_OWNER: service.uid},
    }
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata, **body}


def hashed(child: Manifest) -> Manifest:
    """The child with the hash of what it says, in place of an earlier one."""
    metadata = child["metadata"]
    bare = {key: value for key, value in metadata["annotations"].items() if key != naming.ANNOTATION_APPLIED}
    hash_ = fingerprint({**child, "metadata": {**metadata, "annotations": bare}})
    return {**child, "metadata": {**metadata, "annotations": {**bare, naming.ANNOTATION_APPLIED: hash_}}}


def labels(service: Service) -> dict[str, str]:
    """The labels of children and of the pods of the Deployment."""
    return {
        "app.kubernetes.io/name": "corefit-runtime",
        "app.kubernetes.io/instance": service.child_name,
        naming.LABEL_MANAGED_BY: naming.MANAGED_BY,
        **naming.selector(service.name),
    }


def own_pods(service: Service) -> dict[str, str]:
    """What selects the pods of the Deployment, and none of others'.

    Pods that got the runtime from a resource of mode Sidecar of the same name, which is gone, bear its label until they
    are restarted: requests must not be sent to them, nor their ports be closed. A Deployment's selector can't be
    changed, and its pods are told by their owner anyway.
    """
    return {**naming.selector(service.name), naming.LABEL_MANAGED_BY: naming.MANAGED_BY}


def _owner(service: Service) -> dict[str, Any]:
    return {
        "apiVersion": f"{naming.GROUP}/{naming.VERSION}",
        "kind": naming.KIND,
        "name": service.name,
        "uid": service.uid,
        "controller": True,
        "blockOwnerDeletion": True,
    }
