"""Names, labels, annotations, ports and mount paths that operator, runtime and command line agree on. May not do I/O.

Kubernetes names: a Service's must be an RFC 1035 label, at most 63 characters of which the first is a letter (before
Kubernetes 1.36, which takes a digit as well), and a Pod's is its Deployment's plus 17 characters (ReplicaSet hash and
suffix).
"""

import hashlib
import re
from typing import Final

GROUP: Final = "serving.corefit.dev"
VERSION: Final = "v1alpha1"
KIND: Final = "InferenceService"
PLURAL: Final = "inferenceservices"
FIELD_MANAGER: Final = "corefit-operator"

LABEL_SERVICE: Final = f"{GROUP}/inferenceservice"
"""On every child and every runtime pod: the name of its InferenceService (see `label_value`)."""
LABEL_BALANCER: Final = f"{GROUP}/balancer"
"""On the pods of a balancer, which bear no `LABEL_SERVICE`: the name of the InferenceService behind it."""
LABEL_MANAGED_BY: Final = "app.kubernetes.io/managed-by"
MANAGED_BY: Final = "corefit"
ANNOTATION_APPLIED: Final = f"{GROUP}/applied-hash"
"""On every child: the hash of the manifest that was applied last, so that an equal one is not written again."""
ANNOTATION_OWNER: Final = f"{GROUP}/owner-uid"
"""On every child: the uid of its resource. A child that lost its owner reference is mended for that resource alone."""
ANNOTATION_SPEC_HASH: Final = f"{GROUP}/asked-hash"
"""On a Deployment: the hash of what the resource asked for, by which a change of the operator's own is told."""
ANNOTATION_BALANCER_CONFIG: Final = f"{GROUP}/haproxy.cfg"
"""On the pods of a balancer: HAProxy's configuration, which they read as a file."""
ANNOTATION_PAUSED: Final = f"{GROUP}/paused"
"""On an InferenceService: `"true"` stops every write that the operator would make for it."""

ANNOTATION_MODEL: Final = f"{GROUP}/model-uri"
"""On every runtime pod: spec.model.uri of the resource when the pod's template was made."""
ANNOTATION_REVISION: Final = f"{GROUP}/model-revision"
"""On a runtime pod: spec.model.revision, another value of which makes another template, so that pods are replaced."""

PORT_HTTP: Final = 8080
"""Open Inference Protocol. 8080: what KServe's and Seldon's servers and their users' probes take."""
PORT_NAME: Final = "http"
"""What every pod calls the port that the Service sends to, be it the runtime's or an application's."""
PORT_ADMIN: Final = 8081
"""Report, metrics, health: a port of its own, so that a NetworkPolicy can close it to all but the operator."""
PORT_AGENT: Final = 8083
"""What a pod can take, for balancers: HAProxy's agent protocol is no HTTP, and can't share a port with it."""
CONTAINER: Final = "runtime"

LABEL_INJECT: Final = f"{GROUP}/inject"
"""On a pod template of others: the InferenceService of mode Sidecar whose runtime its pods are to have."""
ANNOTATION_INJECTED: Final = f"{GROUP}/injected"
"""On a pod of others: the version and the hash of what was put into it (see `stamp`)."""
ANNOTATION_INJECTABLE: Final = f"{GROUP}/injectable"
"""On the operator's ServiceAccount: the resources of mode Sidecar as ",NAMESPACE/NAME,...,", by which the admission
policies warn of names that are not there. A ServiceAccount, since API servers watch those for themselves: the watch
of another built-in kind ends for good when the policy that it was begun for is deleted (seen on 1.36.3)."""
ANNOTATION_SCALED_BY: Final = f"{GROUP}/scaled-by"
"""On a workload of others: the InferenceService that may scale it, where its pod template has no `LABEL_INJECT`."""
ANNOTATION_ADMIN_PORT: Final = f"{GROUP}/admin-port"
"""On a pod whose runtime has its admin port elsewhere than `PORT_ADMIN`."""
SIDECAR: Final = "corefit-runtime"
SIDECAR_PORT_HTTP: Final = 18080
SIDECAR_PORT_ADMIN: Final = 18081
SIDECAR_PORT_CONTROL: Final = SIDECAR_PORT_ADMIN + 1
"""All containers of a pod share its ports, and applications like 8080 and 8081 as much as we do."""
SOCKET_DIR: Final = "/run/corefit"
SOCKET: Final = f"{SOCKET_DIR}/runtime.sock"

SOURCE_MOUNT: Final = "/mnt/model-source"
"""Where the claim of a `pvc://` model is mounted in the runtime's container, read-only."""
CREDENTIALS_MOUNT: Final = "/mnt/model-credentials"
"""Where the Secret with the credentials for the model's web server is mounted there."""

_VOLUME_PREFIX: Final = "corefit-volume-"
_LABEL_MAX: Final = 63
_CHILD_MAX: Final = 46
_HASH_LEN: Final = 8
_RFC1035: Final = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
OBJECT_NAME_MAX: Final = 253
OBJECT_NAME: Final = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"
"""A DNS subdomain name (RFC 1123): what Kubernetes lets an object be called."""
_OBJECT_NAME: Final = re.compile(OBJECT_NAME[1:-1])


def is_object_name(name: str) -> bool:
    """Whether Kubernetes lets an object have this name; such a name is one segment of a path, whatever it says."""
    return len(name) <= OBJECT_NAME_MAX and _OBJECT_NAME.fullmatch(name) is not None


def is_rfc1035_label(name: str) -> bool:
    """Whether `name` may name a Service: lower-case alphanumerics and `-`, a letter first, 1 to 63 characters."""
    return len(name) <= _LABEL_MAX and _RFC1035.fullmatch(name) is not None


def child_name(service: str) -> str:
    """The name that the Deployment, Service, PDB and ServiceAccount of an InferenceService bear.

    The resource's own name where it fits, since that is what people look for; a custom resource may be named
    like a DNS subdomain of 253 characters, so others are cut, given a letter to begin with, and made unique by a
    hash of the whole name.
    """
    if len(service) <= _CHILD_MAX and is_rfc1035_label(service):
        return service
    digest = hashlib.sha256(service.encode()).hexdigest()[:_HASH_LEN]
    stem = re.sub(r"[^a-z0-9-]+", "-", service.lower()).strip("-")
    stem = stem if stem[:1].isalpha() else f"s-{stem}"
    return f"{stem[: _CHILD_MAX - _HASH_LEN - 1].strip('-')}-{digest}"


def balancer_name(service: str) -> str:
    """The name of the balancer's objects in front of an InferenceService, at most 55 characters."""
    return f"{child_name(service)}-balancer"


def pods_service_name(service: str) -> str:
    """The name of the headless Service by which the balancer finds the pods: at most 51 characters, a DNS label."""
    return f"{child_name(service)}-pods"


def volume_name(declared: str) -> str:
    """The name, in a pod of others, of a volume that an InferenceService declares: `corefit-volume-` and its name.

    A name that is too long for a volume then (63 characters) is cut and made unique by a hash.
    """
    name = f"{_VOLUME_PREFIX}{declared}"
    if len(name) <= _LABEL_MAX:
        return name
    digest = hashlib.sha256(declared.encode()).hexdigest()[:_HASH_LEN]
    return f"{name[: _LABEL_MAX - _HASH_LEN - 1].rstrip('-')}-{digest}"


def label_value(service: str) -> str:
    """The value of `LABEL_SERVICE`: equal to the child's name, which is a valid label value always."""
    return child_name(service)


def model_annotations(uri: str, revision: str) -> dict[str, str]:
    """The annotations by which a pod says which model it serves."""
    return {ANNOTATION_MODEL: uri, **({ANNOTATION_REVISION: revision} if revision else {})}


def selector(service: str) -> dict[str, str]:
    """The labels that select the runtime pods of one InferenceService within its namespace."""
    return {LABEL_SERVICE: label_value(service)}
