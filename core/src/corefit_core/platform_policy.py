"""What the platform lets an InferenceService name: images, volumes, Secrets, environment, accounts. May not do I/O.

Whoever may create an InferenceService makes the operator create pods. Without bounds that is the right to run any image
with any Secret and any ServiceAccount of the namespace. The chart's value `policy` holds these bounds; the operator
checks each resource against them, and the chart's admission policy refuses a resource that breaks them.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

import msgspec

from corefit_core.errors import CorefitError
from corefit_core.spec.serving_spec import ServingSpec

ANY: Final = "*"
"""Alone it allows everything; at the end of a name it allows what begins with that name."""


SECRET_REFERENCES: Final = ("secretName", "secretRef", "nodePublishSecretRef")
"""Fields of volume sources of core/v1 that name a Secret: of azureFile; of cephfs, rbd, iscsi, flexVolume; of csi."""
BY_FULL_NAME: Final = "ORT_LOAD_CONFIG_FROM_MODEL"
"""A variable that a prefix does not allow: with it the model's file chooses the options of its own session."""


class PolicyViolation(CorefitError):
    """A resource names what the platform forbids; the message names the field, the rule and the chart's value."""


class PlatformPolicy(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """The chart's value `policy`. The defaults allow the platform's own runtime with a model, and little more.

    Attributes:
        image_prefixes: what an image may begin with, as `registry.example/team/`; a prefix ends at `/`, and after a
            path at `:` or `@` as well.
            The runtime's image of the platform is always allowed. In this list, in `volume_kinds` and in `env_prefixes`
            the entry `*` allows everything.
        application: whether `spec.application` is allowed: containers of the resource's choice.
        template_volumes: whether `spec.template.volumes` is allowed.
        volume_kinds: volume sources of core/v1 that are allowed, those inside a `projected` volume included.
        secrets: Secrets that a volume, its driver or a variable may read; an entry that ends with `*` is a prefix.
        credentials_secrets: Secrets that `spec.model.credentialsSecret` may name, likewise.
        env_prefixes: what the name of a variable in `spec.template.env` may begin with; `BY_FULL_NAME` only in full.
        service_accounts: ServiceAccounts that `spec.template.serviceAccountName` may name; `*` as for secrets.
        priority_classes: PriorityClasses that `spec.template.priorityClassName` may name; `*` as for secrets.
    """

    image_prefixes: tuple[str, ...] = ()
    application: bool = False
    template_volumes: bool = True
    volume_kinds: tuple[str, ...] = ("configMap", "emptyDir", "persistentVolumeClaim")
    secrets: tuple[str, ...] = ()
    credentials_secrets: tuple[str, ...] = (ANY,)
    env_prefixes: tuple[str, ...] = (
        "LANG",
        "LC_",
        "MKL_NUM_THREADS",
        "OMP_NUM_THREADS",
        "OPENBLAS_NUM_THREADS",
        "ORT_",
        "TZ",
    )
    service_accounts: tuple[str, ...] = ()
    priority_classes: tuple[str, ...] = ()


def check(spec: ServingSpec, policy: PlatformPolicy, image: str) -> None:
    """Sees that a resource names nothing that the platform forbids.

    Args:
        spec: the resource.
        policy: what the platform allows.
        image: the platform's own runtime image.

    Raises:
        PolicyViolation: it names something forbidden; the message says what, and which value of the chart allows it.
    """
    for found in _violations(spec, policy, image):
        raise PolicyViolation(found)


def _violations(spec: ServingSpec, policy: PlatformPolicy, image: str) -> Iterator[str]:
    """What is wrong, first things first."""
    if spec.application is not None and not policy.application:
        yield _forbidden("spec.application", "containers of a resource's own", "policy.application")
    if spec.template.volumes and not policy.template_volumes:
        yield _forbidden("spec.template.volumes", "volumes of a resource's own", "policy.templateVolumes")
    yield from _images(spec, policy, image)
    yield from _volumes(spec, policy)
    yield from _variables(spec, policy)
    yield from _names(spec, policy)


def _images(spec: ServingSpec, policy: PlatformPolicy, own: str) -> Iterator[str]:
    named = [("spec.image", spec.image)] if spec.image else []
    named += [(f"spec.application.containers[{c.get('name')}].image", c.get("image", "")) for c in _containers(spec)]
    for path, image in named:
        if image != own and not any(_begins(str(image), prefix) for prefix in policy.image_prefixes):
            yield _forbidden(path, f"the image {image}", "policy.imagePrefixes", policy.image_prefixes)


def _begins(image: str, prefix: str) -> bool:
    """Whether an image is below a prefix: `r.example/team` is no prefix of `r.example/team-b/x`.

    After a registry alone a `:` begins a port: `r.example` is no prefix of `r.example:5000/x`, which is another server.
    """
    ends = ("/", ":", "@") if "/" in prefix else ("/",)
    rest = image.removeprefix(prefix)
    return prefix == ANY or (image.startswith(prefix) and (prefix[-1:] in ("/", ":", "@") or rest[:1] in ("", *ends)))


def _volumes(spec: ServingSpec, policy: PlatformPolicy) -> Iterator[str]:
    kinds = policy.volume_kinds
    named: list[tuple[str, Mapping[str, Any]]] = list(_declared(spec))
    if spec.model.claim:
        named.append(("spec.model.uri", {"persistentVolumeClaim": {}}))
    for path, volume in named:
        # Without a source a volume is an emptyDir; so is one whose source is null.
        for kind in [key for key, source in volume.items() if key != "name" and source is not None] or ["emptyDir"]:
            if kind not in kinds and ANY not in kinds:
                yield _forbidden(path, f"a volume of kind {kind}", "policy.volumeKinds", kinds)
        for secret in _volume_secrets(volume):
            yield from _secret(path, secret, policy)


def _declared(spec: ServingSpec) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Each volume of the resource, and each source inside a projected one, with its path."""
    lists = [("spec.template.volumes", spec.template.volumes)]
    if spec.application is not None:
        lists.append(("spec.application.volumes", spec.application.volumes))
    for field, volumes in lists:
        for volume in volumes:
            path = f"{field}[{volume.get('name')}]"
            yield path, volume
            yield from ((path, source) for source in _objects(_object(volume.get("projected")).get("sources")))


def _volume_secrets(volume: Mapping[str, Any]) -> Iterator[str]:
    """The Secrets that a volume, or a source inside a projected one, holds or that its driver reads."""
    secret = _object(volume.get("secret"))
    if secret:
        yield str(secret.get("secretName", secret.get("name", "")))
    for source in [_object(source) for kind, source in volume.items() if kind != "secret"]:
        for reference in [source[key] for key in SECRET_REFERENCES if source.get(key) is not None]:
            yield str(_object(reference).get("name", "")) if isinstance(reference, Mapping) else str(reference)


def _variables(spec: ServingSpec, policy: PlatformPolicy) -> Iterator[str]:
    for variable in spec.template.env:
        name = str(variable.get("name", ""))
        path = f"spec.template.env[{name}]"
        if not any(_admits(prefix, name) for prefix in policy.env_prefixes):
            yield _forbidden(path, f"the variable {name}", "policy.envPrefixes", policy.env_prefixes)
        yield from _from(path, variable, policy)
    for given in _containers(spec):
        path = f"spec.application.containers[{given.get('name')}]"
        for own in _objects(given.get("env")):
            yield from _from(f"{path}.env[{own.get('name')}]", own, policy)
        for source in _objects(given.get("envFrom")):
            if source.get("secretRef") is not None:
                yield from _secret(f"{path}.envFrom", str(_object(source["secretRef"]).get("name", "")), policy)


def _admits(prefix: str, variable: str) -> bool:
    return prefix in (ANY, variable) or (variable.startswith(prefix) and variable != BY_FULL_NAME)


def _from(path: str, variable: Mapping[str, Any], policy: PlatformPolicy) -> Iterator[str]:
    reference = _object(variable.get("valueFrom")).get("secretKeyRef")
    if reference is not None:
        yield from _secret(path, str(_object(reference).get("name", "")), policy)


def _secret(path: str, name: str, policy: PlatformPolicy) -> Iterator[str]:
    if not _listed(name, policy.secrets):
        yield _forbidden(path, f"the Secret {name}", "policy.secrets", policy.secrets)


def _names(spec: ServingSpec, policy: PlatformPolicy) -> Iterator[str]:
    template = spec.template
    for path, what, name, value, allowed in (
        (
            "spec.model.credentialsSecret",
            "the Secret",
            spec.model.credentials_secret,
            "policy.credentialsSecrets",
            policy.credentials_secrets,
        ),
        (
            "spec.template.serviceAccountName",
            "the ServiceAccount",
            template.service_account_name or "",
            "policy.serviceAccounts",
            policy.service_accounts,
        ),
        (
            "spec.template.priorityClassName",
            "the PriorityClass",
            template.priority_class_name or "",
            "policy.priorityClasses",
            policy.priority_classes,
        ),
    ):
        if name and not _listed(name, allowed):
            yield _forbidden(path, f"{what} {name}", value, allowed)


def _listed(name: str, allowed: Iterable[str]) -> bool:
    return any(name.startswith(entry[:-1]) if entry.endswith(ANY) else name == entry for entry in allowed)


def _forbidden(path: str, what: str, value: str, allowed: Iterable[str] = ()) -> str:
    listed = ", ".join(allowed)
    now = f", which is now {listed}" if listed else ""
    return (
        f"{path}: the platform does not allow {what}. Ask the administrator to change the chart's value {value}{now}."
    )


def _containers(spec: ServingSpec) -> tuple[Mapping[str, Any], ...]:
    return spec.application.containers if spec.application is not None else ()


def _objects(value: Any) -> list[Mapping[str, Any]]:
    """The objects in a list that the API server has yet to check."""
    return [item for item in value if isinstance(item, Mapping)] if isinstance(value, list | tuple) else []


def _object(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
