"""Resources and pods by API calls alone: what a cluster's controllers and kubelets would have written."""

import asyncio
from collections.abc import Awaitable, Iterable
from typing import Any

from apiserver import Api
from reports import address

from corefit_core.naming import GROUP, LABEL_SERVICE, PLURAL, VERSION

NAMESPACE = "bench"
PODS = 10
"""Of each resource."""
SERVICES = f"apis/{GROUP}/{VERSION}/namespaces/{NAMESPACE}/{PLURAL}"
DEPLOYMENTS = f"apis/apps/v1/namespaces/{NAMESPACE}/deployments"
POD_URL = f"api/v1/namespaces/{NAMESPACE}/pods"
MERGE = "application/merge-patch+json"
WRITERS = 24


def name(number: int) -> str:
    """Of a resource."""
    return f"service-{number:04d}"


async def grow(api: Api, start: int, end: int) -> None:
    """Resources from `start` to `end`, each with its pods, ready, and a Deployment that is complete."""
    await _all(_pod(api, number) for number in range(start * PODS, end * PODS))
    await _all(_service(api, number) for number in range(start, end))
    await _all(_deployment(api, number) for number in range(start, end))


async def _all(work: Iterable[Awaitable[None]]) -> None:
    slots = asyncio.Semaphore(WRITERS)

    async def one(item: Awaitable[None]) -> None:
        async with slots:
            await item

    await asyncio.gather(*(one(item) for item in work))


async def _service(api: Api, number: int) -> None:
    spec = {
        "model": {"uri": "http://models/m.onnx"},
        "resources": {"cpu": "1", "memory": "512Mi"},
        "scaling": {"minReplicas": PODS, "maxReplicas": PODS},
    }
    body = {"apiVersion": f"{GROUP}/{VERSION}", "kind": "InferenceService", "metadata": {"name": name(number)}}
    await api.send("POST", SERVICES, {**body, "spec": spec})


async def _pod(api: Api, number: int) -> None:
    service = name(number // PODS)
    pod = f"{service}-{number % PODS}"
    # No controller runs here, so nothing collects a pod whose ReplicaSet does not exist.
    owner = {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "name": f"{service}-6b7f",
        "uid": "none",
        "controller": True,
    }
    body = {
        "metadata": {"name": pod, "labels": {LABEL_SERVICE: service}, "ownerReferences": [owner]},
        "spec": {"nodeName": "none", "containers": [{"name": "runtime", "image": "none"}]},
    }
    await api.send("POST", POD_URL, body)
    await ready(api, number, ready=True)


async def ready(api: Api, number: int, *, ready: bool) -> None:
    """What a kubelet says of a pod; its address is the one under which its report is."""
    host = address(number)
    status: dict[str, Any] = {
        "phase": "Running",
        "podIP": host,
        "podIPs": [{"ip": host}],
        "conditions": [{"type": "Ready", "status": "True" if ready else "False"}],
    }
    pod = f"{name(number // PODS)}-{number % PODS}"
    await api.send("PATCH", f"{POD_URL}/{pod}/status", {"status": status}, MERGE)


async def _deployment(api: Api, number: int) -> None:
    path = f"{DEPLOYMENTS}/{name(number)}/status"
    # More generations than there will be: its controller, which isn't there, would keep up with each.
    counts = dict.fromkeys(("replicas", "updatedReplicas", "readyReplicas", "availableReplicas"), PODS)
    status = {"observedGeneration": 1000, **counts}
    async with asyncio.timeout(600):
        while True:
            try:
                await api.send("PATCH", path, {"status": status}, MERGE)
            except RuntimeError as error:
                if "404" not in str(error):
                    raise
                await asyncio.sleep(0.5)  # the operator has yet to make it
            else:
                return
