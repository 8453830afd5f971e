"""Writes one child by server-side apply, so that what we own of it is what its manifest says. May not decide when."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from corefit_core.manifest import Manifest
from corefit_core.naming import FIELD_MANAGER
from corefit_operator.cache.view import View
from corefit_operator.kube.api_error import ApiError
from corefit_operator.kube.cluster import Cluster
from corefit_operator.kube.workloads import Child, decode_child


async def write(cluster: Cluster, view: View, manifest: Manifest, known: Child | None) -> Child:
    """The child after an apply; None for `known` makes it.

    Raises:
        ApiError: it can't be written, or the view is behind.
    """
    try:
        applied = await (_created(cluster, manifest) if known is None else _updated(cluster, manifest, known))
    except ApiError as error:
        if known is not None and error.status in (HTTPStatus.CONFLICT, HTTPStatus.NOT_FOUND):
            await refresh(cluster, view, known)
        raise
    child = decode_child(manifest["kind"], applied)
    view.put_child(child)
    return child


async def read(cluster: Cluster, manifest: Manifest) -> Child | None:
    """The child as it is, when the view has none: it may be someone else's, and then it bears no label of ours."""
    meta = manifest["metadata"]
    raw = await cluster.get(manifest["kind"], meta["namespace"], meta["name"])
    return decode_child(manifest["kind"], raw) if raw is not None else None


async def refresh(cluster: Cluster, view: View, child: Child) -> None:
    """Reads a child anew: a write showed that the view is behind, and nobody knows when its watch will catch up."""
    meta = child.metadata
    raw = await cluster.get(child.kind, meta.namespace, meta.name)
    if raw is None:
        view.drop_child(child)
    else:
        view.put_child(decode_child(child.kind, raw))


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


async def _updated(cluster: Cluster, manifest: Manifest, known: Child) -> dict[str, Any]:
    """A child that is there, also a Service one of whose ports somebody has given another number.

    Ports are merged by number: that one would stay next to ours, with the same name, and the API server refuses both.
    So the list is overwritten first.
    """
    version = known.metadata.resource_version
    try:
        applied = await cluster.apply(manifest, version)
    except ApiError as error:
        if (known.kind, error.status) != ("Service", HTTPStatus.UNPROCESSABLE_ENTITY):
            raise
        ports = manifest["spec"]["ports"]
        written = await cluster.overwrite(known.kind, manifest["metadata"], version, "/spec/ports", ports)
        applied = await cluster.apply(manifest, written["metadata"]["resourceVersion"])
    return await _without_plain_writes(cluster, manifest, applied)


async def _without_plain_writes(cluster: Cluster, manifest: Manifest, applied: dict[str, Any]) -> dict[str, Any]:
    """Gives up what a plain write of ours owns: an apply never lets go of that."""
    entries = applied["metadata"].get("managedFields", [])
    kept = [entry for entry in entries if _account(entry) != (FIELD_MANAGER, "Update", "")]
    if len(kept) == len(entries):
        return applied
    version = applied["metadata"]["resourceVersion"]
    return await cluster.overwrite(manifest["kind"], manifest["metadata"], version, "/metadata/managedFields", kept)


def _account(entry: Mapping[str, Any]) -> tuple[str, str, str]:
    return entry.get("manager", ""), entry.get("operation", ""), entry.get("subresource", "")
