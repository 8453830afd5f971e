"""One school under the load: puts it up, sends, looks at what its pods request, takes it away."""

import asyncio
import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import ahead
import aiohttp
import msgspec
import yaml
from crowds import Crowd
from schools import NAME, School, neighbour

from corefit.demo.predictions import known_rows, load_requests
from corefit.demo.tools import Tools
from corefit.load import Recorder, run
from corefit.load.record import Sample
from corefit_devcluster.api_proxy import api_proxy
from corefit_operator.resize.node_headroom import requested

NAMESPACE: Final = "flash"
DEADLINE_S: Final = 240.0
LOOK_S: Final = 0.25


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """What a trial gave: the requests, cores requested by time, and cores that the hypervisor gave to others."""

    samples: list[Sample]
    requested: list[tuple[float, float]]
    stolen_cores: float


class Stage:
    """The cluster as a trial sees it."""

    def __init__(self, tools: Tools) -> None:
        self.tools = tools
        self._environment = tools.environment
        # By the cluster's own PATH, which `subprocess` would not look at.
        self._kubectl = str(shutil.which("kubectl", path=self._environment["PATH"]))

    def kubectl(self, *words: str) -> str:
        """In the bench's namespace."""
        return self.tools.run("kubectl", "--namespace", NAMESPACE, *words)

    def apply(self, documents: Sequence[dict[str, Any]]) -> None:
        """Server-side is not needed: each trial begins from nothing."""
        text = yaml.safe_dump_all(documents)
        command = [self._kubectl, "--namespace", NAMESPACE, "apply", "-f", "-"]
        subprocess.run(command, env=self._environment, input=text, text=True, check=True, stdout=subprocess.DEVNULL)

    def until(self, what: str, holds: Callable[[], bool]) -> None:
        """Wait for a condition that no watch says.

        Raises:
            TimeoutError: it never held.
        """
        end = time.monotonic() + DEADLINE_S
        while not holds():
            if time.monotonic() > end:
                raise TimeoutError(f"not within {DEADLINE_S:.0f} s: {what}\n{self.kubectl('get', 'all,events')}")
            time.sleep(0.5)

    def pods(self) -> list[dict[str, Any]]:
        """All of the school's, those on their way out too: their request is held until they are gone."""
        found = json.loads(self.kubectl("get", "pods", "--output", "json"))["items"]
        return [pod for pod in found if pod["metadata"]["name"].startswith(f"{NAME}-")]

    def url(self) -> str:
        """Where the school's Service answers."""
        service = json.loads(self.kubectl("get", "service", NAME, "--output", "json"))["spec"]
        port = next(p["port"] for p in service["ports"] if p["name"] == "http")
        return f"http://{service['clusterIP']}:{port}/v2/models/{NAME}/infer"

    def clear(self) -> None:
        """Nothing of a school is left."""
        kinds = "horizontalpodautoscalers,inferenceservices,deployments,services"
        for kind in kinds.split(","):
            self.kubectl("delete", kind, NAME, "--ignore-not-found", "--wait=true")
        self.kubectl("delete", "pod", "neighbour", "--ignore-not-found", "--wait=true")
        self.until("the pods are gone", lambda: not self.pods())


def measure(stage: Stage, school: School, crowd: Crowd, root: Path) -> Seen:
    """Puts a school up, sends the load, and takes it away."""
    stage.clear()
    if school.neighbour:
        stage.apply([neighbour()])
        stage.kubectl("wait", "--for=condition=Ready", "pod/neighbour", "--timeout=240s")
    stage.apply(school.manifests)
    stage.until(f"{crowd.pods} pods serve", lambda: sum(map(_ready, stage.pods())) >= crowd.pods)
    requests = load_requests(known_rows(root / "examples/load-model/rows.json"))
    try:
        with ahead.generator():
            return asyncio.run(_sent(stage, crowd.times(), requests))
    finally:
        stage.clear()


def _ready(pod: dict[str, Any]) -> bool:
    conditions = pod["status"].get("conditions", ())
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


async def _sent(stage: Stage, times: Sequence[float], requests: Sequence[Any]) -> Seen:
    recorder, cores = Recorder(), [(0.0, 0.0)]
    stolen, begun = _stolen_s(), time.monotonic()
    start = asyncio.get_running_loop().time() + 1.0
    with api_proxy(stage.tools.environment) as base:
        pods = f"{base}/api/v1/namespaces/{NAMESPACE}/pods"
        async with aiohttp.ClientSession() as session:
            looking = asyncio.create_task(_look(session, pods, start, cores))
            try:
                await run(stage.url(), requests, times, recorder=recorder, start=start)
            finally:
                looking.cancel()
                await asyncio.gather(looking, return_exceptions=True)
    stolen_cores = (_stolen_s() - stolen) / (time.monotonic() - begun)
    return Seen(samples=list(recorder), requested=cores, stolen_cores=stolen_cores)


def _stolen_s() -> float:
    """Seconds since boot that the hypervisor gave to others, of all CPUs: proc(5), /proc/stat."""
    return int(Path("/proc/stat").read_text().split()[8]) / os.sysconf("SC_CLK_TCK")


async def _look(session: aiohttp.ClientSession, url: str, start: float, cores: list[tuple[float, float]]) -> None:
    """Cores that the school's pods request, as the scheduler counts them."""
    loop = asyncio.get_running_loop()
    while True:
        async with session.get(url) as response:
            items = msgspec.json.decode(await response.read())["items"]
        held = [requested(p) for p in items if p["metadata"]["name"].startswith(f"{NAME}-") and _bound(p)]
        cores.append((loop.time() - start, sum(held) / 1000))
        await asyncio.sleep(LOOK_S)


def _bound(pod: dict[str, Any]) -> bool:
    return bool(pod["spec"].get("nodeName")) and pod["status"].get("phase") in ("Pending", "Running")
