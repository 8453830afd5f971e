"""What kubelets do to the API server, without any: pods are bound, run, become ready, are resized, and go.

And what the runtime in them tells: each pod has a loopback address of its own with a report, of a load that the test
says. Everything else about a pod is the real API server's and the real controllers' doing.
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import suppress
from datetime import UTC, datetime
from http import HTTPStatus
from ipaddress import IPv4Address
from typing import Any, Self, cast

import aiohttp
from faults.api import JSON, MERGE
from faults.wire import Wire

from corefit_core import report
from corefit_core.histogram import Histogram, bucket
from corefit_core.naming import ANNOTATION_ADMIN_PORT, CONTAINER, LABEL_SERVICE, PORT_ADMIN, SIDECAR
from corefit_core.quantity import parse_millicores
from corefit_core.report import Counters, ModelIdentity, PlanInForce, Report

NODE = "node"
SERVICE_S = 0.02
"""Seconds of a worker for each request."""
START_S, STARTUP_S = 0.3, 1.0
"""Seconds until a pod is ready, and what it says of that."""
HELD_S = 5.0
"""Seconds for which a pod holds the question whether its queue is long, as the runtime does."""
AGAIN_S = 0.3
"""Seconds until a step that failed is tried again: the pod has changed, and the event of it is on its way."""

Pod = dict[str, Any]


class Runtime(asyncio.Protocol):
    """One pod's process: its counters, and one connection to it."""

    def __init__(self, uid: str, millicores: Callable[[], int], erlangs: Callable[[], float]) -> None:
        self.uid = uid
        self.connections = 0
        self.looks: list[tuple[float, int]] = []
        """When it was asked for a report, by the wall clock, and on which connection: who had no answer hangs up."""
        self._millicores = millicores
        self._erlangs = erlangs
        self._busy_s = self._cpu_s = 0.0
        self._at = time.monotonic()

    def report(self) -> bytes:
        """What it has counted until now."""
        now, erlangs = time.monotonic(), self._erlangs()
        self._busy_s += erlangs * (now - self._at)
        self._cpu_s += min(erlangs, self._millicores() / 1000) * (now - self._at)
        self._at = now
        done = int(self._busy_s / SERVICE_S)
        counts = (*(0,) * bucket(SERVICE_S), done)
        times = Histogram(counts=counts, sum_s=done * SERVICE_S, sum_sq_s2=done * SERVICE_S**2 * 1.5)
        return report.encode(
            Report(
                pod_uid=self.uid,
                boot_id=self.uid,
                state="Ready",
                model=ModelIdentity(name="digits", sha256="0" * 64),
                plan=PlanInForce(grant_millicores=self._millicores(), workers=1, threads_per_worker=1, queue_depth=4),
                clock_s=now,
                startup_s=STARTUP_S,
                counters=Counters(
                    arrivals=done,
                    admitted=done,
                    completed=done,
                    busy_worker_seconds=self._busy_s,
                    cpu_seconds=self._cpu_s,
                ),
                service_time=times,
                total=times,
            )
        )


class Connection(asyncio.Protocol):
    """Answers a GET with the report, and the question whether a queue is long after a while: none ever is."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        runtime.connections += 1
        self._number = runtime.connections

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        if not data.endswith(b"\r\n\r\n"):  # a GET fits into one segment
            return
        if data.startswith(f"GET {report.ATTENTION_PATH} ".encode()):
            asyncio.get_running_loop().call_later(HELD_S, self._answer, b"quiet\n")
        else:
            self._runtime.looks.append((time.time(), self._number))
            self._answer(self._runtime.report())

    def _answer(self, body: bytes) -> None:
        if not self._transport.is_closing():
            self._transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)


class Nodes:
    """Runs the pods of all services.

    Args:
        wire: to the API server.
        near: pods have addresses in this one's neighbourhood.
    """

    def __init__(self, wire: Wire, near: IPv4Address) -> None:
        self.erlangs: dict[str, float] = {}
        """The load of each namespace, over all of its pods that are ready."""
        self.looks: dict[tuple[str, str], list[tuple[float, int]]] = {}
        """When, and on which of its connections, each pod, by namespace and name, was asked for a report."""
        self._wire = wire
        self._near = near
        self._pods: dict[str, Pod] = {}
        self._runtimes: dict[str, tuple[Runtime, asyncio.Server]] = {}
        self._addresses = 0
        self._busy: set[str] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    def __enter__(self) -> Self:
        self._wire.run(self._begin_all())
        return self

    def __exit__(self, *_: object) -> None:
        self._wire.run(self._end_all())

    async def _begin_all(self) -> None:
        await self._send("POST", "api/v1/nodes", {"metadata": {"name": NODE}})
        room = {"capacity": {"cpu": "1000", "memory": "1Ti", "pods": "5000"}}
        status = {"status": {**room, "allocatable": room["capacity"]}}
        await self._send("PATCH", f"api/v1/nodes/{NODE}/status", status)
        self._watching = asyncio.create_task(self._watch())

    async def _end_all(self) -> None:
        tasks = {self._watching, *self._tasks}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for _, server in self._runtimes.values():
            server.close()

    async def _watch(self) -> None:
        while True:
            with suppress(aiohttp.ClientError, TimeoutError):
                async for event in self._events():
                    self._heard(event["type"], event["object"])

    async def _events(self) -> AsyncIterator[dict[str, Any]]:
        url = f"{self._wire.server}/api/v1/pods?watch=1&labelSelector={LABEL_SERVICE}"
        async with self._wire.session.get(url) as answer:
            async for line in answer.content:
                yield json.loads(line)

    def _heard(self, type_: str, pod: Pod) -> None:
        uid = pod["metadata"]["uid"]
        if type_ == "DELETED":
            self._pods.pop(uid, None)
            self._end(uid)
            return
        self._pods[uid] = pod
        self._next(uid)

    def _next(self, uid: str) -> None:
        """Does what is next for a pod; its outcome comes back as an event."""
        pod = self._pods.get(uid)
        if pod is None or uid in self._busy:
            return
        step = self._step(pod)
        if step is not None:
            self._busy.add(uid)
            task = asyncio.create_task(self._do(pod, step))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _do(self, pod: Pod, step: Coroutine[Any, Any, bool]) -> None:
        uid = pod["metadata"]["uid"]
        try:
            if not await step:
                await asyncio.sleep(AGAIN_S)
            elif self._pods.get(uid) is pod:
                return  # the event of what was done is on its way
        finally:
            self._busy.discard(uid)
        self._next(uid)

    def _step(self, pod: Pod) -> Coroutine[Any, Any, bool] | None:
        if pod["metadata"].get("deletionTimestamp"):
            return self._gone(pod)
        if not pod["spec"].get("nodeName"):
            return self._bind(pod)
        if pod["status"].get("phase") != "Running":
            return self._begin(pod)
        return self._grant(pod) if _asked(pod) != _granted(pod) else None

    async def _bind(self, pod: Pod) -> bool:
        body = {"metadata": {"name": pod["metadata"]["name"]}, "target": {"kind": "Node", "name": NODE}}
        return await self._pod(pod, "POST", body, "/binding")

    async def _begin(self, pod: Pod) -> bool:
        meta, now = pod["metadata"], datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        await asyncio.sleep(START_S)
        host = await self._start(pod)
        kinds = ("PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled")
        conditions = [{"type": kind, "status": "True", "lastTransitionTime": now} for kind in kinds]
        status = {"phase": "Running", "podIP": host, "podIPs": [{"ip": host}], "startTime": now}
        status |= {"conditions": conditions, **_statuses(pod, now)}
        done = await self._pod(pod, "PATCH", {"status": status}, "/status")
        if not done:
            self._end(meta["uid"])
        return done

    async def _grant(self, pod: Pod) -> bool:
        return await self._pod(pod, "PATCH", {"status": _statuses(pod, pod["status"]["startTime"])}, "/status")

    async def _gone(self, pod: Pod) -> bool:
        self._end(pod["metadata"]["uid"])
        uid = {"uid": pod["metadata"]["uid"]}
        return await self._pod(pod, "DELETE", {"gracePeriodSeconds": 0, "preconditions": uid})

    async def _start(self, pod: Pod) -> str:
        """Has its process listen; the address."""
        meta, number = pod["metadata"], self._addresses
        self._addresses += 1
        _, high, low, _ = self._near.packed
        host = f"127.{high}.{(low + 1 + number // 250) % 251}.{1 + number % 250}"
        namespace, uid = meta["namespace"], meta["uid"]

        def erlangs() -> float:
            pods = sum(p["metadata"]["namespace"] == namespace and bool(_granted(p)) for p in self._pods.values())
            return self.erlangs.get(namespace, 0.0) / max(1, pods)

        runtime = Runtime(uid, lambda: _granted(self._pods.get(uid, pod)), erlangs)

        def connected() -> Connection:
            return Connection(runtime)

        port = int(meta.get("annotations", {}).get(ANNOTATION_ADMIN_PORT, PORT_ADMIN))
        server = await self._wire.loop.create_server(connected, host, port, backlog=16)
        self._runtimes[uid] = runtime, server
        self.looks[namespace, meta["name"]] = runtime.looks
        return host

    def _end(self, uid: str) -> None:
        runtime = self._runtimes.pop(uid, None)
        if runtime is not None:
            runtime[1].close()

    async def _pod(self, pod: Pod, method: str, body: dict[str, Any], part: str = "") -> bool:
        meta = pod["metadata"]
        return await self._send(method, f"api/v1/namespaces/{meta['namespace']}/pods/{meta['name']}{part}", body)

    async def _send(self, method: str, path: str, body: dict[str, Any]) -> bool:
        """Whether it was done; a pod that has changed meanwhile comes back as an event."""
        headers = {"Content-Type": MERGE if method == "PATCH" else JSON}
        try:
            url = f"{self._wire.server}/{path}"
            async with self._wire.session.request(method, url, json=body, headers=headers) as answer:
                return answer.status < HTTPStatus.BAD_REQUEST
        except aiohttp.ClientError:
            return False


def _asked(pod: Pod) -> int:
    found = {c["name"]: c for field in ("containers", "initContainers") for c in pod["spec"].get(field, ())}
    return _millicores(found)


def _granted(pod: Pod) -> int:
    fields = ("containerStatuses", "initContainerStatuses")
    found = {c["name"]: c for field in fields for c in pod["status"].get(field, ())}
    return _millicores(found) if found else 0


def _millicores(containers: dict[str, Any]) -> int:
    """Of the runtime, which has a name of its own beside an application that may be called anything."""
    return parse_millicores(containers.get(SIDECAR, containers.get(CONTAINER))["resources"]["limits"]["cpu"])


def _statuses(pod: Pod, since: str) -> Pod:
    """All containers run, and have what they ask for."""
    told = {
        "imageID": "",
        "restartCount": 0,
        "ready": True,
        "started": True,
        "state": {"running": {"startedAt": since}},
    }
    return {
        f"{field}Statuses": [
            {"name": c["name"], "image": c["image"], "resources": c.get("resources", {}), **told}
            for c in pod["spec"].get(f"{field}s", ())
        ]
        for field in ("container", "initContainer")
    }
