"""From a resource as the API server has it to a `ServingSpec`: the only way in. May not do I/O.

The API server has checked the resource against the schema by then, but a resource may be older than the schema, so
whatever can't be read is an `InvalidInput` that names the field.
"""

from collections.abc import Mapping
from typing import Any, Final, TypeVar
from urllib.parse import quote

import msgspec
from msgspec import UNSET, UnsetType

from corefit_core import naming
from corefit_core.api import inference_service as api
from corefit_core.api.calibration import Calibration, encoded
from corefit_core.api.part import emptied, explicit_fields
from corefit_core.errors import InvalidInput
from corefit_core.manifest import fingerprint
from corefit_core.naming import SOURCE_MOUNT
from corefit_core.quantity import parse_bytes, parse_millicores
from corefit_core.sizing import Grant, plan
from corefit_core.spec import checks
from corefit_core.spec import policy as policies
from corefit_core.spec.field import field
from corefit_core.spec.serving_spec import ServedModel, ServingSpec

T = TypeVar("T")
D = TypeVar("D")
_PVC: Final = "pvc://"


def decode(resource: Mapping[str, Any]) -> ServingSpec:
    """The resource, decoded.

    Raises:
        InvalidInput: a field can't be read or makes no sense; the message names it.
    """
    meta, spec = resource.get("metadata", {}), _converted(resource)
    millicores = field("spec.resources.cpu", parse_millicores, spec.resources.cpu)
    memory_bytes = field("spec.resources.memory", parse_bytes, spec.resources.memory)
    policy = policies.policy(spec, millicores, memory_bytes)
    burst = policies.burst(spec, millicores)
    limit = burst or millicores
    sizing = field("spec.resources.cpu", lambda m: plan(Grant(quota_millicores=m), policy.objective), limit)
    model = _model(spec, name=meta.get("name", ""))
    template = _or(spec.template, api.PodTemplate())
    checks.check(spec, template)
    return ServingSpec(
        namespace=meta.get("namespace", ""),
        name=meta.get("name", ""),
        uid=meta.get("uid", ""),
        generation=meta.get("generation", 0),
        paused=meta.get("annotations", {}).get(naming.ANNOTATION_PAUSED) == "true",
        model=model,
        millicores=millicores,
        burst_millicores=burst,
        startup_millicores=policies.startup(spec, millicores),
        memory_bytes=memory_bytes,
        policy=msgspec.structs.replace(policy, workers_per_pod=sizing.workers),
        plan=sizing,
        mode=spec.scaling.mode,
        manual_replicas=spec.scaling.replicas,
        image=_or(spec.image, ""),
        image_pull_policy=spec.image_pull_policy,
        template=template,
        injected=spec.mode == "Sidecar",
        target=_or(spec.scaling.target_ref, None),
        balancing=spec.routing.balancing,
        gateway=_or(spec.routing.gateway, None),
        application=_or(spec.application, None),
        spec_hash=_spec_hash(spec),
    )


def _converted(resource: Mapping[str, Any]) -> api.InferenceServiceSpec:
    try:
        return msgspec.convert(_stored(resource.get("spec", {})), api.InferenceServiceSpec)
    except msgspec.ValidationError as error:
        raise InvalidInput(f"spec can't be read: {error}") from error


def _model(spec: api.InferenceServiceSpec, *, name: str) -> ServedModel:
    uri, claim = _source(spec.model.uri)
    calibration, secret = _or(spec.calibration, Calibration()), _or(spec.model.credentials_secret, None)
    return ServedModel(
        uri=uri,
        source_uri=spec.model.uri,
        revision=_or(spec.model.revision, ""),
        claim=claim,
        sha256=_or(spec.model.sha256, ""),
        name=_or(spec.model.name, name),
        credentials_secret=secret.name if secret is not None else "",
        calibrate=calibration.mode == "Auto",
        calibration_inputs=encoded(calibration),
    )


def _or(value: T | UnsetType, default: D) -> T | D:
    return default if value is UNSET else value


def _stored(spec: Any) -> Any:
    if not isinstance(spec, Mapping):
        return spec  # which is said better where it is converted
    return _emptied(spec, ("template", "routing", "gateway"))


def _emptied(part: Mapping[str, Any], below: tuple[str, ...]) -> dict[str, Any]:
    """The part without nulls, and those below it that have these names."""
    found = emptied(part)
    inner = {name: _emptied(found[name], below) for name in below if isinstance(found.get(name), Mapping)}
    return {**found, **inner}


def _spec_hash(spec: api.InferenceServiceSpec) -> str:
    fields = explicit_fields(spec).items()
    return fingerprint({key: value for key, value in fields if key not in ("scaling", "price", "routing")})


def _source(uri: str) -> tuple[str, str]:
    """The URI for the runtime, and the claim that has to be mounted for it.

    What follows the claim is the file's name as it is: in a URI `#` and `?` would end it, and `%41` be an A.
    """
    if not uri.startswith(_PVC):
        return uri, ""
    claim, _, path = uri.removeprefix(_PVC).partition("/")
    if not path or not naming.is_object_name(claim):
        raise InvalidInput(f"spec.model.uri: {uri!r} must be pvc://claim/path")
    return f"file://{SOURCE_MOUNT}/{quote(path)}", claim
