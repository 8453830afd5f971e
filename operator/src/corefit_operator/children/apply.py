"""Keeps the children of a resource as its manifests say, with a write only where something may differ.

Server-side apply does the comparing; what is decided here is when it is done. A child is left alone when it
bears the hash of the manifest and the fields that we applied are still ours: a field that someone else changes or
removes leaves our account in managedFields. That account is remembered from our own last apply, so an operator
that has just started applies each child once, which the API server finds to change nothing.
"""

import logging
import math
from collections.abc import Awaitable, Callable, Iterable, Sequence
from http import HTTPStatus
from typing import Final

import msgspec

from corefit_core.manifest import Manifest
from corefit_core.naming import ANNOTATION_APPLIED
from corefit_core.spec.serving_spec import ServingSpec
from corefit_operator.cache.view import Key, View
from corefit_operator.children import ownership, writes
from corefit_operator.concurrency.backoff import Backoff
from corefit_operator.diagnosis.problem import Problem, described
from corefit_operator.kube.api_error import ApiError
from corefit_operator.kube.cluster import Cluster
from corefit_operator.kube.workloads import Child

LOG: Final = logging.getLogger(__name__)
REFUSED_S: Final = 10.0
"""Seconds until a child that was refused is tried again: a quota may have been raised, a namesake deleted. Without a
pause a policy that refuses what all resources want would be asked by each of them in every round of reports."""
RETRY_S: Final = 1.0
"""Seconds until another look at a child of a deleted namesake: the garbage collector takes about as long."""
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
Pending = tuple[Manifest, Child | None]
"""A child that is to be written, and how it is now; None where there is none."""


async def settle(
    cluster: Cluster,
    view: View,
    spec: ServingSpec,
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
        result = await _settled(cluster, view, spec, manifests, memory=memory.applied, confirm=confirm)
    except ApiError as error:
        if error.status == HTTPStatus.CONFLICT:
            raise
        wait = memory.backoff.failed(error.retry_after_s)
        memory.until, memory.refused = now + wait, None
        LOG.warning("%s/%s: children again in %.1f s: %s", spec.namespace, spec.name, wait, error)
        return ApplyResult(retry_s=wait)
    memory.backoff.failures, memory.refused = 0, result.refused
    if result.refused is not None:
        memory.until = now + REFUSED_S
        return msgspec.structs.replace(result, retry_s=REFUSED_S)
    return result


async def _settled(
    cluster: Cluster,
    view: View,
    spec: ServingSpec,
    manifests: Sequence[Manifest],
    *,
    memory: dict[tuple[str, str], Applied],
    confirm: Confirm,
) -> ApplyResult:
    # All names are looked at before the first write: a resource whose Deployment is another's makes nothing at all.
    known = view.children(Key(spec.namespace, spec.name))
    pending = list[Pending]()
    for manifest in manifests:
        child = known.get(_id(manifest))
        if child is not None and _in_order(child, manifest, memory.get(_id(manifest))):
            continue
        child = child or await writes.read(cluster, manifest)
        blocked = _blocked(child, spec) if child is not None else None
        if blocked is not None:
            return blocked
        pending.append((manifest, child))
    return await _written(cluster, view, pending, memory=memory, confirm=confirm)


async def _written(
    cluster: Cluster,
    view: View,
    pending: Iterable[Pending],
    *,
    memory: dict[tuple[str, str], Applied],
    confirm: Confirm,
) -> ApplyResult:
    written = 0
    for manifest, known in pending:
        if not written:
            await confirm()
        try:
            child = await writes.write(cluster, view, manifest, known)
        except ApiError as error:
            if not error.refused:
                raise
            return _refused(written, str(error))
        memory[_id(manifest)] = Applied(uid=child.metadata.uid, fields=child.metadata.applied_fields)
        written += 1
    return ApplyResult(written=written)


def _refused(written: int, message: str) -> ApplyResult:
    if _LEAVING in message:
        return ApplyResult(written=written, retry_s=RETRY_S)
    return ApplyResult(written=written, refused=described("ChildRefused", message))


def _blocked(child: Child, spec: ServingSpec) -> ApplyResult | None:
    """Why a child must not be written: it is about to go, or belongs to someone else."""
    if ownership.leaving(child, spec):
        return ApplyResult(retry_s=RETRY_S)
    problem = ownership.taken(child, spec)
    return ApplyResult(refused=problem) if problem is not None else None


def _id(manifest: Manifest) -> tuple[str, str]:
    return manifest["kind"], manifest["metadata"]["name"]


def _in_order(child: Child, manifest: Manifest, applied: Applied | None) -> bool:
    meta = child.metadata
    wanted = manifest["metadata"]["annotations"][ANNOTATION_APPLIED]
    return (
        applied is not None
        and applied.uid == meta.uid
        and meta.annotations.get(ANNOTATION_APPLIED) == wanted
        and meta.applied_fields == applied.fields
    )
