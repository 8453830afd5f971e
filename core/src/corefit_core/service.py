"""One InferenceService as the operator works with it: integers and decided defaults instead of strings.

`decode` is the only way in. The API server has checked the resource against the schema by then, but a resource
may be older than the schema, so whatever can't be read is an `InvalidInput` that names the field.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar
from urllib.parse import quote

import msgspec
from msgspec import UNSET

from corefit_core import naming
from corefit_core.api import inference_service as api
from corefit_core.api.application import Application, TargetRef
from corefit_core.api.calibration import Calibration, encoded
from corefit_core.api.part import emptied, explicit_fields
from corefit_core.errors import InvalidInput
from corefit_core.manifest import fingerprint
from corefit_core.quantity import parse_bytes, parse_millicores
from corefit_core.recommender import CpuRange, Policy, Price
from corefit_core.sizing import Grant, Objective, SizingPlan, plan

_T = TypeVar("_T")
_PVC: Final = "pvc://"
_MOUNT_PATH: Final = re.compile(api.MOUNT_PATH.removesuffix("$"))
_RESERVED_MOUNT: Final = re.compile(api.RESERVED_MOUNT)
SOURCE_MOUNT: Final = "/mnt/model-source"
"""Where the claim of a `pvc://` model is mounted, read-only."""
CREDENTIALS_MOUNT: Final = "/mnt/model-credentials"
"""Where the Secret with the credentials for the model's web server is mounted."""


class Service(msgspec.Struct, frozen=True, kw_only=True):
    """What one resource asks for.

    Attributes:
        generation: of the resource's spec; conditions say which one they speak of.
        model_uri: what the runtime fetches; a `pvc://` model is a file below `SOURCE_MOUNT` for it.
        source_uri: spec.model.uri.
        model_revision: spec.model.revision; empty when there is none.
        model_claim: the claim to mount for that; empty when there is none.
        model_name: in the protocol's paths.
        credentials_secret: mounted for the runtime, for the model's web server; empty when there is none.
        manual_replicas: spec.scaling.replicas.
        calibrate: whether the runtime measures the model before it serves.
        calibration_inputs: what it is measured with, as JSON for the runtime; empty for what the runtime makes up.
        injected: it has no pods of its own; pods of others get the runtime (mode Sidecar).
        target: the workload of others that is scaled; None when none is.
        application: what the pods hold beside the runtime; None for pods of the runtime alone.
        spec_hash: a hash of the spec without scaling and prices, the same whether a default was written out or not.
        paused: the operator writes nothing for this resource.
        millicores: CPU that a pod requests; where there is a range (`policy.cpu_range`) what it is never shrunk below.
        burst_millicores: the limit of a pod whose CPU beyond its request is the node's to lend; None: the request.
        startup_millicores: CPU that a pod starts with by the resource's own word; None where it says nothing.
        plan: from the CPU limit, before any pod has measured anything.
    """

    namespace: str
    name: str
    uid: str
    generation: int
    model_uri: str
    source_uri: str
    model_revision: str
    model_claim: str
    model_sha256: str
    model_name: str
    credentials_secret: str
    millicores: int
    burst_millicores: int | None = None
    startup_millicores: int | None = None
    memory_bytes: int
    policy: Policy
    mode: api.Mode
    manual_replicas: int
    calibrate: bool = True
    calibration_inputs: str = ""
    image: str
    image_pull_policy: str
    template: api.PodTemplate
    injected: bool
    target: TargetRef | None
    application: Application | None
    spec_hash: str
    paused: bool
    plan: SizingPlan

    @property
    def objective(self) -> Objective:
        """Percentile and latency."""
        return self.policy.objective

    @property
    def child_name(self) -> str:
        """What its children are called."""
        return naming.child_name(self.name)


def decode(resource: Mapping[str, Any]) -> Service:
    """The resource, decoded.

    Raises:
        InvalidInput: a field can't be read or makes no sense; the message names it.
    """
    meta = resource.get("metadata", {})
    try:
        spec = msgspec.convert(_stored(resource.get("spec", {})), api.InferenceServiceSpec)
    except msgspec.ValidationError as error:
        raise InvalidInput(f"spec can't be read: {error}") from error
    millicores = _field("spec.resources.cpu", parse_millicores, spec.resources.cpu)
    memory_bytes = _field("spec.resources.memory", parse_bytes, spec.resources.memory)
    policy = _policy(spec, millicores, memory_bytes)
    burst = _burst(spec, millicores)
    limit = burst or millicores
    sizing = _field("spec.resources.cpu", lambda m: plan(Grant(quota_millicores=m), policy.objective), limit)
    uri, claim = _source(spec.model.uri)
    calibration = Calibration() if spec.calibration is UNSET else spec.calibration
    template = api.PodTemplate() if spec.template is UNSET else spec.template
    _field("spec.template.labels", _own_keys, template.labels)
    _field("spec.template.annotations", _own_keys, template.annotations)
    _check_mounts(template)
    _check_variables(template)
    _check_application_mounts(spec)
    return Service(
        namespace=meta.get("namespace", ""),
        name=meta.get("name", ""),
        uid=meta.get("uid", ""),
        generation=meta.get("generation", 0),
        model_uri=uri,
        source_uri=spec.model.uri,
        model_revision="" if spec.model.revision is UNSET else spec.model.revision,
        model_claim=claim,
        model_sha256="" if spec.model.sha256 is UNSET else spec.model.sha256,
        model_name=meta.get("name", "") if spec.model.name is UNSET else spec.model.name,
        credentials_secret="" if spec.model.credentials_secret is UNSET else spec.model.credentials_secret.name,
        millicores=millicores,
        burst_millicores=burst,
        startup_millicores=_startup(spec, millicores),
        memory_bytes=memory_bytes,
        policy=msgspec.structs.replace(policy, workers_per_pod=sizing.workers),
        mode=spec.scaling.mode,
        manual_replicas=spec.scaling.replicas,
        calibrate=calibration.mode == "Auto",
        calibration_inputs=encoded(calibration),
        image="" if spec.image is UNSET else spec.image,
        image_pull_policy=spec.image_pull_policy,
        template=template,
        injected=spec.mode == "Sidecar",
        target=None if spec.scaling.target_ref is UNSET else spec.scaling.target_ref,
        application=None if spec.application is UNSET else spec.application,
        spec_hash=_spec_hash(spec),
        paused=meta.get("annotations", {}).get(naming.ANNOTATION_PAUSED) == "true",
        plan=sizing,
    )


def _check_mounts(template: api.PodTemplate) -> None:
    """Each mount is of a volume that the resource itself declares, where it replaces no file of the runtime."""
    declared = {volume.get("name") for volume in template.volumes}
    for mount in template.volume_mounts:
        path = str(mount.get("mountPath"))
        if not _MOUNT_PATH.fullmatch(path) or _RESERVED_MOUNT.match(path):
            raise InvalidInput(f"spec.template.volumeMounts: {path!r}: {api.MOUNT_RULE}")
        if mount.get("name") not in declared:
            raise InvalidInput(
                f"spec.template.volumeMounts: {mount.get('mountPath')} mounts the volume {mount.get('name')!r}, which "
                "is not in spec.template.volumes. The runtime mounts no other volume of the pod: declare it there"
            )


def _check_variables(template: api.PodTemplate) -> None:
    """No variable comes from a file in a volume: in a pod of others that could be a volume of theirs."""
    for variable in template.env:
        source = variable.get("valueFrom")
        if isinstance(source, Mapping) and source.get("fileKeyRef") is not None:
            raise InvalidInput(
                f"spec.template.env[{variable.get('name')}]: valueFrom.fileKeyRef is not supported: use value or "
                "valueFrom.configMapKeyRef"
            )


def _check_application_mounts(spec: api.InferenceServiceSpec) -> None:
    """The application mounts no volume of the runtime's: one of them may hold the model server's credentials."""
    for container in () if spec.application is UNSET else spec.application.containers:
        for field in ("volumeMounts", "volumeDevices"):
            mounts = container.get(field)
            found = [m.get("name") for m in mounts if isinstance(m, dict)] if isinstance(mounts, list | tuple) else []
            for name in found:
                if str(name).startswith("corefit-"):
                    raise InvalidInput(
                        f"spec.application.containers[{container.get('name')}].{field}: the volume {name} is the "
                        "runtime's own: use one of spec.application.volumes"
                    )


def _stored(spec: Any) -> Any:
    if not isinstance(spec, Mapping):
        return spec  # which is said better where it is converted
    found = emptied(spec)
    template = found.get("template")
    return {**found, "template": emptied(template)} if isinstance(template, Mapping) else found


def _spec_hash(spec: api.InferenceServiceSpec) -> str:
    return fingerprint({key: value for key, value in explicit_fields(spec).items() if key not in ("scaling", "price")})


def _policy(spec: api.InferenceServiceSpec, millicores: int, memory_bytes: int) -> Policy:
    scaling, objective, window_s = spec.scaling, spec.objective, spec.scaling.down_stabilization_seconds
    if scaling.min_replicas > scaling.max_replicas:
        raise InvalidInput("spec.scaling: minReplicas must not be above maxReplicas")
    return Policy(
        objective=Objective(percentile=objective.percentile, latency_s=objective.latency_milliseconds / 1000),
        min_replicas=scaling.min_replicas,
        max_replicas=scaling.max_replicas,
        cpu_range=_cpu_range(spec, millicores),
        millicores_per_pod=millicores,
        memory_bytes_per_pod=memory_bytes,
        price=Price(
            core_hour=_field("spec.price.coreHour", float, spec.price.core_hour),
            gib_hour=_field("spec.price.gibHour", float, spec.price.gib_hour),
            currency=spec.price.currency,
        ),
        down_window_s=None if window_s is UNSET else float(window_s),
    )


def _cpu_range(spec: api.InferenceServiceSpec, least: int) -> CpuRange | None:
    """What a pod may be resized to; None where it may not."""
    most = _most(spec, least)
    if most is None or spec.resources.growth == "Burst":
        return None
    return CpuRange(min_millicores=least, max_millicores=most) if most > least else None


def _burst(spec: api.InferenceServiceSpec, least: int) -> int | None:
    """The limit of pods that may use what their node has idle; None where the limit is the request."""
    if spec.resources.growth != "Burst":
        return None
    most = _most(spec, least)
    if most is None:
        raise InvalidInput("spec.resources: growth Burst needs maxCPU")
    return most


def _most(spec: api.InferenceServiceSpec, least: int) -> int | None:
    if spec.resources.max_cpu is UNSET:
        return None
    most = _field("spec.resources.maxCPU", parse_millicores, spec.resources.max_cpu)
    if most < least:
        raise InvalidInput("spec.resources: maxCPU must not be below cpu")
    return most


def _startup(spec: api.InferenceServiceSpec, least: int) -> int | None:
    if spec.startup is UNSET or spec.startup.cpu is UNSET:
        return None
    if spec.resources.growth == "Burst":
        raise InvalidInput(
            "spec.startup.cpu needs resources.growth Resize: with Burst a pod may use maxCPU from the start"
        )
    millicores = _field("spec.startup.cpu", parse_millicores, spec.startup.cpu)
    if millicores < least:
        raise InvalidInput("spec.startup: cpu must not be below spec.resources.cpu")
    return millicores


def _own_keys(found: Mapping[str, str]) -> None:
    taken = next((key for key in found if key.startswith(f"{naming.GROUP}/")), None)
    if taken is not None:
        raise InvalidInput(f"{taken[:80]}: keys that begin with {naming.GROUP}/ are Corefit's own")


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


def _field(path: str, parse: Callable[[Any], _T], value: object) -> _T:
    try:
        return parse(value)
    except (InvalidInput, ValueError) as error:
        raise InvalidInput(f"{path}: {error}") from error
