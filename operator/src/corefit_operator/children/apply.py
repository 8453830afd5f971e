"""Keeps the children of a resource as its manifests say, with a write only where something may differ.

Server-side apply does the comparing; what is decided here is when to ask for it. A child is left alone when it
bears the hash of the manifest and the fields that we applied are still ours: a field that someone else changes or
removes leaves our account in managedFields. That account is remembered from our own last apply, so an operator
that has just started applies each child once, which the API server finds to change nothing.
"""

import logging
import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final

import msgspec

from corefit_core.manifest import Manifest
from corefit_core.naming import ANNOTATION_APPLIED, FIELD_MANAGER, KIND
from corefit_core.service import Service
from corefit_operator.cache.view import Key, View
from corefit_operator.concurrency.backoff import Backoff
from corefit_operator.diagnosis.problem import Problem, described
from corefit_operator.kube.api_error import ApiError
from corefit_operator.kube.cluster import Cluster
from corefit_operator.kube.workloads import Child, decode_child, with_replicas

LOG: Final = logging.getLogger(__name__)
REFUSED_S: Final = 10.0
"""Seconds until a child that was refused is tried again: a quota may have been raised, a namesake deleted. Without a
pause a policy that refuses what all resources want would be asked by each of them in every round of reports."""
RETRY_S: Final = 1.0
"""Seconds until another look at a child of a deleted namesake: the garbage collector takes about as long."""
OF_KUBERNETES: Final = frozenset({("ServiceAccount", "default"), ("Service", "kubernetes")})
"""Children's kinds and names that the control plane makes: an account in each namespace, the API server's Service."""
_LEAVING: Final = "because it is being terminated"
"""In the refusal to make something in a namespace that is being deleted: the resource goes with it in a moment."""


class Applied(msgspec.Struct, frozen=True, kw_only=True):
    """The account of our fields in one child after our last apply, hashed."""

    uid: str
    fields: str


class ApplyResult(msgspec.Struct, frozen=True, kw_only=True):
    """What came of bringing the children in order.

    Attributes:
        written: how many were written.
        refused: why the API server, or a namesake, doesn't let one be.
        retry_s: when to look again at what is on its way out, or couldn't be written now; None when nothing is.
    """

    written: int = 0
    refused: Problem | None = None
    retry_s: float | None = None


class ApplyState(msgspec.Struct, kw_only=True):
    """What is remembered of one resource's children, and may be lost at any time.

    Attributes:
        applied: the account of our fields, by kind and name.
        refused: why one of them is not let be, as long as that isn't tried again.
        backoff: of writes that failed.
        until: monotonic seconds before which nothing is tried again.
    """

    applied: dict[tuple[str, str], Applied] = msgspec.field(default_factory=dict)
    refused: Problem | None = None
    backoff: Backoff = msgspec.field(default_factory=Backoff)
    until: float = -math.inf


Confirm = Callable[[], Awaitable[None]]
"""Asks the API server whether the resource still says what the manifests were made from; raises if it doesn't."""


async def settle(
    cluster: Cluster,
    view: View,
    service: Service,
    manifests: Sequence[Manifest],
    *,
    memory: ApplyState,
    confirm: Confirm,
    now: float,
) -> ApplyResult:
    """Brings all children in order, or says why one can't be.

    What the API server can't take now, a webhook of it being down, is left for later with a backoff of its own: it
    must not keep the pods that are there from being asked and scaled.

    Raises:
        ApiError: the view is behind, and nothing may be decided from it.
    """
    if now < memory.until:
        return ApplyResult(refused=memory.refused, retry_s=memory.until - now)
    try:
        outcome = await _settled(cluster, view, service, manifests, memory=memory.applied, confirm=confirm)
    except ApiError as error:
        if error.status == HTTPStatus.CONFLICT:
            raise
        wait = memory.backoff.failed(error.retry_after_s)
        memory.until, memory.refused = now + wait, None
        LOG.warning("%s/%s: children again in %.1f s: %s", service.namespace, service.name, wait, error)
        return ApplyResult(retry_s=wait)
    memory.backoff.failures, memory.refused = 0, outcome.refused
    if outcome.refused is not None:
        memory.until = now + REFUSED_S
        return msgspec.structs.replace(outcome, retry_s=REFUSED_S)
    return outcome


async def _settled(
    cluster: Cluster,
    view: View,
    service: Service,
    manifests: Sequence[Manifest],
    *,
    memory: dict[tuple[str, str], Applied],
    confirm: Confirm,
) -> ApplyResult:
    known = view.children(Key(service.namespace, service.name))
    written, wanting = 0, list[tuple[Manifest, Child | None]]()
    # All names are looked at before the first write: a resource whose Deployment is another's makes nothing at all.
    for manifest in manifests:
        id_ = (manifest["kind"], manifest["metadata"]["name"])
        child = known.get(id_)
        if child is not None and _in_order(child, manifest, memory.get(id_)):
            continue
        if child is None:
            child = await _found(cluster, manifest)
        blocked = _blocked(child, service)
        if blocked is not None:
            return blocked
        wanting.append((manifest, child))
    for manifest, child in wanting:
        if not written:
            await confirm()
        try:
            await _apply(cluster, view, manifest, child, memory)
        except ApiError as error:
            if not error.refused:
                raise
            if _LEAVING in str(error):
                return ApplyResult(written=written, retry_s=RETRY_S)
            return ApplyResult(written=written, refused=described("ChildRefused", str(error)))
        written += 1
    return ApplyResult(written=written)


async def refresh(cluster: Cluster, view: View, child: Child) -> None:
    """Reads a child anew: a write showed that the view is behind, and nobody knows when its watch will catch up."""
    meta = child.metadata
    raw = await cluster.get(child.kind, meta.namespace, meta.name)
    if raw is None:
        view.drop_child(child)
    else:
        view.put_child(decode_child(child.kind, raw))


async def rescale(cluster: Cluster, view: View, service: Service, workload: Child, replicas: int) -> None:
    """Gives a workload other replicas, provided that it still is what it was when that was decided."""
    meta, current = workload.metadata, workload.spec.replicas
    try:
        version = await cluster.scale(
            workload.kind, service.namespace, meta.name, uid=meta.uid, current=current, replicas=replicas
        )
    except ApiError as error:
        if error.status in (HTTPStatus.CONFLICT, HTTPStatus.NOT_FOUND) and not service.injected:
            await refresh(cluster, view, workload)
        raise
    if not service.injected:  # a workload of others is looked at anew each time
        view.put_child(with_replicas(workload, replicas, version))


async def _found(cluster: Cluster, manifest: Manifest) -> Child | None:
    """The child as it is, when the view has none: it may be someone else's, and then it bears no label of ours."""
    meta = manifest["metadata"]
    raw = await cluster.get(manifest["kind"], meta["namespace"], meta["name"])
    return decode_child(manifest["kind"], raw) if raw is not None else None


def _blocked(child: Child | None, service: Service) -> ApplyResult | None:
    """Why a child must not be written: it belongs to someone else, or is about to go."""
    if child is None:
        return None
    if child.metadata.deletion_timestamp is not None:
        return ApplyResult(retry_s=RETRY_S)
    owner = next((o for o in child.metadata.owner_references if o.controller), None)
    if owner is not None and owner.uid == service.uid:
        return None
    if owner is not None and (owner.kind, owner.name) == (KIND, service.name):
        return ApplyResult(retry_s=RETRY_S)  # of a deleted namesake: the garbage collector is on its way
    if owner is None and child.owned_by(service.uid):
        return None  # made for this resource, with its owner edited away
    return ApplyResult(refused=described("NameTaken", _taken(child)))


def _taken(child: Child) -> str:
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


def _in_order(child: Child, manifest: Manifest, applied: Applied | None) -> bool:
    meta = child.metadata
    wanted = manifest["metadata"]["annotations"][ANNOTATION_APPLIED]
    return (
        applied is not None
        and applied.uid == meta.uid
        and meta.annotations.get(ANNOTATION_APPLIED) == wanted
        and meta.applied_fields == applied.fields
    )


async def _apply(
    cluster: Cluster, view: View, manifest: Manifest, known: Child | None, memory: dict[tuple[str, str], Applied]
) -> None:
    kind = manifest["kind"]
    try:
        applied = await _applied(cluster, manifest, known)
    except ApiError as error:
        if known is not None and error.status in (HTTPStatus.CONFLICT, HTTPStatus.NOT_FOUND):
            await refresh(cluster, view, known)
        raise
    child = decode_child(kind, applied)
    view.put_child(child)
    memory[(kind, child.metadata.name)] = Applied(uid=child.metadata.uid, fields=child.metadata.applied_fields)


async def _applied(cluster: Cluster, manifest: Manifest, known: Child | None) -> dict[str, Any]:
    """The child after an apply, also of a Service one of whose ports somebody has given another number.

    Ports are merged by number: that one would stay beside ours, with the same name, and the API server refuses both.
    So the list is overwritten first. What a plain write owns an apply never lets go of; therefore that is given up.
    """
    try:
        if known is None:
            return await _created(cluster, manifest)
        applied = await cluster.apply(manifest, known.metadata.resource_version)
    except ApiError as error:
        if known is None or (known.kind, error.status) != ("Service", HTTPStatus.UNPROCESSABLE_ENTITY):
            raise
        version, ports = known.metadata.resource_version, manifest["spec"]["ports"]
        written = await cluster.overwrite(known.kind, manifest["metadata"], version, "/spec/ports", ports)
        applied = await cluster.apply(manifest, written["metadata"]["resourceVersion"])
    entries = applied["metadata"].get("managedFields", [])
    kept = [entry for entry in entries if _account(entry) != (FIELD_MANAGER, "Update", "")]
    if len(kept) == len(entries):
        return applied
    version = applied["metadata"]["resourceVersion"]
    return await cluster.overwrite(manifest["kind"], manifest["metadata"], version, "/metadata/managedFields", kept)


async def _created(cluster: Cluster, manifest: Manifest) -> dict[str, Any]:
    """A new child. Where somebody else has made an object of the name since that was looked at, it stays theirs.

    An apply without force is refused where they have set a field to another value; where they have not, as in a bare
    ServiceAccount, it goes through, and our fields are taken out again.

    Raises:
        ApiError: there is such an object; the next look says so.
    """
    applied = await cluster.apply(manifest, force=False)
    others = {entry.get("manager") for entry in applied["metadata"].get("managedFields", ())} - {FIELD_MANAGER}
    if others:
        await cluster.release(manifest, str(applied["metadata"]["uid"]))
        what = f"{manifest['kind']} {manifest['metadata']['name']}"
        raise ApiError(f"{what}: {', '.join(map(str, others))} made it meanwhile", status=HTTPStatus.CONFLICT)
    return applied


def _account(entry: Mapping[str, Any]) -> tuple[str, str, str]:
    return entry.get("manager", ""), entry.get("operation", ""), entry.get("subresource", "")
