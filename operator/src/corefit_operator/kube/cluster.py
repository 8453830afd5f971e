"""The API server's verbs: all that the operator asks of it, but for kopf's watches.

Plain JSON in and out: the generated models cost more to build than the requests to send, and server-side apply
wants to send exactly the fields that are meant. May not decide anything.
"""

from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final, NamedTuple, TypeVar

import msgspec
from kubernetes.aio.client import ApiClient

from corefit_core.naming import FIELD_MANAGER, GROUP, KIND, LABEL_SERVICE, VERSION
from corefit_operator.kube import paths, responses, transform
from corefit_operator.kube.api_error import ApiError
from corefit_operator.kube.fence import Fence
from corefit_operator.kube.metadata import Meta
from corefit_operator.kube.transport import JSON, REQUEST_TIMEOUT_S, Body, Transport

RESOURCES_PAGE: Final = 20
"""InferenceServices of one page: each may have 1.5 MB, and a page is in memory whole."""
PAGE: Final = 500
"""Objects of one page of a list: client-go's default."""

_APPLY: Final = "application/apply-patch+yaml"
_STRATEGIC: Final = "application/strategic-merge-patch+json"
_JSON_PATCH: Final = "application/json-patch+json"
T = TypeVar("T")


class Listed(NamedTuple):
    """A list, and the resource version as of which it is complete."""

    items: list[dict[str, Any]]
    resource_version: str


class Cluster:
    """Typed verbs on one API server.

    Args:
        client: owns the connections; closed by whoever made it.
        observe: counts each request's verb, resource and status (0: no answer), for the metrics.
        fence: says whether this process may write; None for writes that need no leave.
        timeout_s: seconds after which a request that was sent is given up.
    """

    def __init__(
        self,
        client: ApiClient,
        observe: Callable[[str, str, int], None],
        *,
        fence: Fence | None = None,
        timeout_s: float = REQUEST_TIMEOUT_S,
    ) -> None:
        self._transport = Transport(client, observe, fence or Fence(), timeout_s)

    async def serves(self, kind: str) -> bool:
        """Whether the API server has this kind; one of a CRD only if that is installed and established."""
        base, plural = paths.PATHS[kind]
        try:
            found = await self._json("GET", base)
        except ApiError as error:
            if error.status == HTTPStatus.NOT_FOUND:
                return False
            raise
        return any(resource.get("name") == plural for resource in found.get("resources", ()))

    async def injects(self) -> bool:
        """Whether the API server serves MutatingAdmissionPolicy as v1 (Kubernetes 1.36)."""
        found = await self._json("GET", "apis/admissionregistration.k8s.io/v1")
        return any(resource.get("name") == "mutatingadmissionpolicies" for resource in found.get("resources", ()))

    async def get(self, kind: str, namespace: str | None, name: str) -> dict[str, Any] | None:
        """One object, None when there is none; of an InferenceService what `intake` keeps."""
        read = transform.parsed if kind == KIND else responses.OBJECT.decode
        try:
            return await self._transport.read(read, "GET", paths.path(kind, namespace, name))
        except ApiError as error:
            if error.status == HTTPStatus.NOT_FOUND:
                return None
            raise

    async def list(self, kind: str, namespace: str | None, *, ours: bool) -> Listed:
        """All objects of a kind, page by page; only those with our label where `ours`."""
        size, read = (RESOURCES_PAGE, transform.parsed) if kind == KIND else (PAGE, responses.OBJECT.decode)
        query = {"limit": str(size)} | ({"labelSelector": LABEL_SERVICE} if ours else {})
        items: list[dict[str, Any]] = []
        while True:
            page = await self._transport.read(responses.PAGES.decode, "GET", paths.path(kind, namespace), query=query)
            items += (read(item) for item in page.items)
            if not page.metadata.token:
                return Listed(items, page.metadata.resource_version)
            query["continue"] = page.metadata.token

    async def may_list(self, kind: str, namespace: str) -> None:
        """Lists no more than it takes to be refused.

        Raises:
            ApiError: these objects can't be listed.
        """
        await self._transport.read(responses.PAGES.decode, "GET", paths.path(kind, namespace), query={"limit": "1"})

    async def apply(self, manifest: Mapping[str, Any], version: str = "", *, force: bool = True) -> dict[str, Any]:
        """Server-side apply: our fields become as the manifest says; the others stay.

        Args:
            manifest: the child.
            version: what the child was when this was decided; another one refuses it with 409. Empty to create it.
            force: whoever owned the fields. Without it another's, of another value, refuses it with 409.
        """
        meta = manifest["metadata"]
        path = paths.path(manifest["kind"], meta["namespace"], meta["name"])
        known = {"resourceVersion": version} if version else {}
        body = {**manifest, "metadata": {**meta, **known}}
        return await self._apply(path, body, decode=responses.OBJECT.decode, force=force)

    async def overwrite(
        self, kind: str, meta: Mapping[str, Any], version: str, field: str, value: Sequence[Any]
    ) -> dict[str, Any]:
        """Replaces one list of an object whole, whoever its items are of, provided that it is of this version.

        Args:
            kind: of the object.
            meta: its namespace and name.
            version: what it was when this was decided; another one refuses it with 409.
            field: as a JSON pointer.
            value: the list.
        """
        patch = [
            {"op": "replace", "path": "/metadata/resourceVersion", "value": version},
            {"op": "replace", "path": field, "value": value},
        ]
        path = paths.path(kind, meta["namespace"], meta["name"])
        return await self._json("PATCH", path, query=_manager(), body=patch, content_type=_JSON_PATCH)

    async def apply_status(self, resource: Mapping[str, Any], status: Mapping[str, Any]) -> str:
        """The status of a resource, by server-side apply; one that has changed, or is another by now, refuses it.

        Returns its new resource version.
        """
        meta = {field: resource["metadata"][field] for field in ("name", "namespace", "uid", "resourceVersion")}
        body = {"apiVersion": f"{GROUP}/{VERSION}", "kind": KIND, "metadata": meta, "status": status}
        namespace, name = meta["namespace"], meta["name"]
        path = f"{paths.path(KIND, namespace, name)}/status"
        written = await self._apply(path, body, decode=responses.VERSIONED.decode)
        return written.metadata.resource_version

    async def scale(self, kind: str, namespace: str, name: str, *, uid: str, current: int, replicas: int) -> str:
        """Sets the replicas of a workload, provided that it is the same one and has `current` of them.

        Returns its new resource version.

        The precondition keeps a decision that was taken from an old view from being carried out on a new state.
        """
        # Scale leaves replicas out where they are 0, and then there is nothing to test against.
        tested = [{"op": "test", "path": "/spec/replicas", "value": current}] if current else []
        patch = [
            {"op": "test", "path": "/metadata/uid", "value": uid},
            *tested,
            {"op": "add", "path": "/spec/replicas", "value": replicas},
        ]
        path = f"{paths.path(kind, namespace, name)}/scale"
        try:
            scale = await self._json("PATCH", path, query=_manager(), body=patch, content_type=_JSON_PATCH)
        except ApiError as error:
            # A test that failed and an admission policy that refuses are both 422.
            if error.status != HTTPStatus.UNPROCESSABLE_ENTITY or await self._has(kind, namespace, name, uid, current):
                raise
            raise ApiError(f"the {kind} changed meanwhile: {error}", status=HTTPStatus.CONFLICT) from error
        return str(scale["metadata"]["resourceVersion"])

    async def _has(self, kind: str, namespace: str, name: str, uid: str, replicas: int) -> bool:
        """Whether a workload is this one and is to have so many replicas."""
        found = await self.get(kind, namespace, name) or {}
        return bool(
            found.get("metadata", {}).get("uid") == uid and found.get("spec", {}).get("replicas", 1) == replicas
        )

    async def resizable(self) -> bool:
        """Whether the API server has `pods/resize`, i.e. is of 1.33 or later with the feature on."""
        found = await self._json("GET", "api/v1")
        return any(resource.get("name") == "pods/resize" for resource in found.get("resources", ()))

    async def resize(self, meta: Meta, containers: Mapping[str, Any]) -> dict[str, Any]:
        """Gives containers of this very pod other resources in place; returns the pod.

        One that has changed since refuses it with 409: a request of an operator that leads no longer, which comes late,
        undoes nothing of what its successor has done.

        Args:
            meta: of the pod as it was when this was decided.
            containers: the parts of the pod's spec that change, as a strategic merge.
        """
        body = {"metadata": {"uid": meta.uid, "resourceVersion": meta.resource_version}, "spec": containers}
        path = f"{paths.path('Pod', meta.namespace, meta.name)}/resize"
        return await self._json("PATCH", path, query=_manager(), body=body, content_type=_STRATEGIC)

    async def pods_on(self, node: str) -> Sequence[Mapping[str, Any]]:
        """The pods of all namespaces that hold resources of a node, from the API server's cache."""
        selector = f"spec.nodeName={node},status.phase!=Succeeded,status.phase!=Failed"
        query = {"fieldSelector": selector, "resourceVersion": "0"}
        found = await self._transport.read(responses.PODS.decode, "GET", paths.path("Pod", None), query=query)
        pods: list[dict[str, Any]] = msgspec.to_builtins(found.items)
        return pods

    async def create(self, kind: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Creates an object; one of the same name refuses it with 409."""
        return await self._json("POST", paths.path(kind, body["metadata"]["namespace"]), body=body, content_type=JSON)

    async def replace(self, kind: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Replaces an object, provided that it is of the version in the body."""
        meta = body["metadata"]
        path = paths.path(kind, meta["namespace"], meta["name"])
        return await self._json("PUT", path, body=body, content_type=JSON)

    async def pod_get(self, namespace: str, pod: str, port: int, path: str, limit: int) -> bytes:
        """`GET path` from a pod through the API server, at most `limit` + 1 bytes of the answer."""
        target = f"{paths.path('Pod', namespace, pod)}:{port}/proxy/{path}"
        response = await self._transport.send("GET", target)
        try:
            body = await response.response.content.read(limit + 1)
            while len(body) <= limit and (more := await response.response.content.read(limit + 1 - len(body))):
                body += more
        finally:
            response.response.release()
        if response.status != HTTPStatus.OK:
            raise ApiError(f"{response.status} from the pod: {body[:200]!r}", status=response.status)
        return bytes(body)

    async def release(self, manifest: Mapping[str, Any], uid: str) -> None:
        """Gives up all fields that we applied of an object, which stays."""
        meta = manifest["metadata"]
        body = {field: manifest[field] for field in ("apiVersion", "kind")}
        metadata = {"name": meta["name"], "namespace": meta["namespace"], "uid": uid}
        path = paths.path(manifest["kind"], meta["namespace"], meta["name"])
        await self._apply(path, {**body, "metadata": metadata}, decode=responses.VERSIONED.decode)

    async def _apply(
        self, path: str, body: Mapping[str, Any], *, decode: Callable[[bytes], T], force: bool = True
    ) -> T:
        query = _manager() | {"force": "true" if force else "false"}
        return await self._transport.read(decode, "PATCH", path, query=query, body=body, content_type=_APPLY)

    async def _json(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Body | None = None,
        content_type: str | None = None,
    ) -> dict[str, Any]:
        return await self._transport.read(
            responses.OBJECT.decode, method, path, query=query, body=body, content_type=content_type
        )


def _manager() -> dict[str, str]:
    return {"fieldManager": FIELD_MANAGER}
