"""The HTTPRoute of a resource: from its Gateways to its Service. Pure."""

from typing import Any, Final

import msgspec

from corefit_core import naming
from corefit_core.api.gateway import Gateway
from corefit_core.manifest import Manifest
from corefit_core.spec.serving_spec import ServingSpec
from corefit_operator.children import metadata

KIND: Final = "HTTPRoute"
API_VERSION: Final = "gateway.networking.k8s.io/v1"


def desired(spec: ServingSpec, gateway: Gateway) -> Manifest:
    """The route, with its hash."""
    wanted = msgspec.to_builtins(gateway)
    timeouts = wanted.pop("timeouts", None)
    return _made(spec, wanted, {"timeouts": timeouts} if timeouts else {})


def detached(spec: ServingSpec) -> Manifest:
    """The route without Gateways, to which nothing is sent: the operator may not delete it."""
    return _made(spec, {}, {})


def _made(spec: ServingSpec, whence: dict[str, Any], extra: dict[str, Any]) -> Manifest:
    rule = {
        "matches": [{"path": {"type": "PathPrefix", "value": path}} for path in _paths(spec)],
        "backendRefs": [{"name": spec.child_name, "port": naming.PORT_HTTP}],
        **extra,
    }
    return metadata.hashed(metadata.manifest(spec, API_VERSION, KIND, {"spec": {**whence, "rules": [rule]}}))


def _paths(spec: ServingSpec) -> tuple[str, ...]:
    """All paths; that of the model by itself too, since of two routes for a host the longer path goes first."""
    return ("/",) if spec.application is not None else (f"/v2/models/{spec.model.name}", "/")
