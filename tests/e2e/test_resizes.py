"""Random resizes of running pods under open-loop load: lost requests, plans that follow, nothing that leaks.

`RESIZES=1000` makes as many in one run, three or four a second (`make bench-resize`); without it there are twenty. With
`RESULTS=file` the figures are written there. It measures correctness; how long a plan takes is said, and fails nothing.
"""

import asyncio
import json
import os
import random
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Final

import aiohttp
import msgspec
import numpy as np
import pytest
from e2e.driving import Load, digits_requests

from corefit_core.report import Report, decode
from corefit_devcluster.api_proxy import api_proxy
from corefit_operator.resize.node_headroom import left, requested

pytestmark = pytest.mark.cluster
ROOT: Final = Path(__file__).parents[2]
SELECTOR: Final = "serving.corefit.dev/inferenceservice=digits"
RESIZES: Final = int(os.environ.get("RESIZES", "20"))
RATE: Final = 15.0
"""Requests a second over both pods: under a millisecond of CPU each, so that a tenth of a core carries them."""
FIRST: Final = 200
WARM_UP: Final = 8
"""Resizes before what a process holds is counted first: what is made once is there then."""
LEAST: Final = 100
MOST: Final = 1500
"""Millicores: from the least that the runtime starts on to where a second worker comes and goes."""
PERIOD_S: Final = 0.2
"""From one resize to the next, unless the plan takes longer."""
LOOK_S: Final = 0.05
DEADLINE_S: Final = 600.0
INSIDE: Final = """
import os
status = dict(line.split(":", 1) for line in open("/proc/1/status"))
print(status["VmRSS"].split()[0], status["Threads"].strip(), len(os.listdir("/proc/1/fd")))
"""
Make = Callable[..., dict[str, Any]]


class Held(msgspec.Struct, frozen=True, kw_only=True):
    """What the process of a pod holds."""

    resident_kib: int
    threads: int
    descriptors: int


class Pods:
    """The pods of a service through `kubectl proxy`: a request costs a tenth of what a kubectl does."""

    def __init__(self, kube: Any, session: aiohttp.ClientSession, base: str) -> None:
        self._session = session
        self._pods = f"{base}/api/v1/namespaces/{kube.namespace}/pods"

    async def resize(self, name: str, millicores: int) -> None:
        cpu = {"cpu": f"{millicores}m"}
        body = {"spec": {"containers": [{"name": "runtime", "resources": {"requests": cpu, "limits": cpu}}]}}
        headers = {"Content-Type": "application/strategic-merge-patch+json"}
        url = f"{self._pods}/{name}/resize"
        async with self._session.patch(url, data=json.dumps(body), headers=headers) as response:
            assert response.status == 200, await response.text()

    async def report(self, name: str) -> Report:
        async with self._session.get(f"{self._pods}/{name}:8081/proxy/report") as response:
            return decode(await response.read())

    async def planned(self, name: str, millicores: int) -> float:
        """Seconds until the plan in force is one for so much CPU."""
        begun = time.monotonic()
        while True:
            plan = (await self.report(name)).plan
            took = time.monotonic() - begun
            if plan.grant_millicores == millicores:
                assert plan.workers * plan.threads_per_worker <= -(-millicores // 1000), plan
                return took
            assert took < DEADLINE_S, f"{name}: {plan.grant_millicores}m after {took:.0f} s, {millicores}m asked"
            await asyncio.sleep(LOOK_S)


def _held(kube: Any, pod: str) -> Held:
    resident, threads, descriptors = kube.kubectl("exec", pod, "--", "python3", "-c", INSIDE).split()
    return Held(resident_kib=int(resident), threads=int(threads), descriptors=int(descriptors))


def _kept(kube: Any, pod: str, before: Held) -> Held | None:
    """What it holds, once that is no more than before: a session or a connection may still be about to be closed."""
    now = _held(kube, pod)
    # A few connections, and threads of a plan; what leaks leaks with every resize or request.
    return now if now.descriptors <= before.descriptors + 40 and now.threads <= before.threads + 4 else None


def _room(kube: Any, names: list[str]) -> int:
    """What the pods may have together: what they request, and what their node has left."""
    pods = [kube.get("pod", name) for name in names]
    node = pods[0]["spec"]["nodeName"]
    selector = f"spec.nodeName={node},status.phase!=Succeeded,status.phase!=Failed"
    listed = json.loads(kube.kubectl("get", "pods", "-A", "--field-selector", selector, "--output", "json"))["items"]
    room = left(kube.get("node", node), listed).millicores
    return room + sum(requested(pod).millicores for pod in pods)


async def _resized(pods: Pods, names: list[str], room: int, count: int) -> list[float]:
    """Resizes one after the other, each of one pod, to sizes that fit the node together; seconds to each plan."""
    sizes, chosen, took = dict.fromkeys(names, FIRST), random.Random(count), []  # noqa: S311 - the same in every run
    for name in names:
        await pods.resize(name, FIRST)
        await pods.planned(name, FIRST)
    for number in range(count):
        name = chosen.choice(names)
        most = min(MOST, room - sum(size for other, size in sizes.items() if other != name))
        sizes[name] = chosen.randrange(LEAST, most + 1, 10)
        begun = time.monotonic()
        await pods.resize(name, sizes[name])
        took.append(await pods.planned(name, sizes[name]))
        if number % 50 == 49:
            print(f"{number + 1} resizes, the longest {max(took):.2f} s", flush=True)
        await asyncio.sleep(max(0.0, begun + PERIOD_S - time.monotonic()))
    return took


async def _through(kube: Any, base: str, names: list[str], count: int) -> list[float]:
    """So many resizes; seconds to each plan."""
    async with aiohttp.ClientSession() as session:
        return await _resized(Pods(kube, session, base), names, _room(kube, names), count)


def _under_load(kube: Any, names: list[str], count: int) -> tuple[list[float], Load]:
    """So many resizes while requests are sent."""
    with (
        api_proxy(kube.environment) as base,
        Load(kube.url("digits"), digits_requests(50), RATE, per_connection=10) as load,
    ):
        return asyncio.run(_through(kube, base, names, count)), load


def test_no_request_fails_and_nothing_leaks_while_pods_are_resized_at_random(kube: Any, service: Make) -> None:
    # In mode Recommend sizes are left to whoever sets them.
    resources = {"cpu": f"{FIRST}m", "maxCPU": f"{MOST}m", "memory": "256Mi"}
    kube.apply(service(resources=resources, scaling={"mode": "Recommend"}))
    kube.wait_condition("digits", "Ready", "True")
    kube.kubectl("scale", "deployment", "digits", "--replicas=2")
    kube.rolled_out("deployment/digits")
    names = [pod["metadata"]["name"] for pod in kube.get("pods", "-l", SELECTOR)["items"]]
    _, warm = _under_load(kube, names, WARM_UP)
    before = {name: _held(kube, name) for name in names}
    took, load = _under_load(kube, names, RESIZES)
    after = {name: kube.until("nothing has leaked", partial(_kept, kube, name, was)) for name, was in before.items()}
    pods = kube.get("pods", "-l", SELECTOR)["items"]
    found = load.recorder.summary()
    figures = {
        "machine": f"{os.cpu_count()} CPUs, Linux {os.uname().release}, load average {os.getloadavg()[2]:.1f}",
        "resizes": len(took),
        "plan_s": {"median": float(np.median(took)), "p99": float(np.quantile(took, 0.99)), "max": max(took)},
        "within_2_s": sum(seconds <= 2 for seconds in took),
        "load": msgspec.to_builtins(found),
        "before": msgspec.to_builtins(before),
        "after": msgspec.to_builtins(after),
    }
    print("\n" + json.dumps(figures, indent=2))
    if os.environ.get("RESULTS"):
        Path(os.environ["RESULTS"]).parent.mkdir(parents=True, exist_ok=True)
        Path(os.environ["RESULTS"]).write_text(json.dumps(figures, indent=2) + "\n")
    assert [pod["metadata"]["name"] for pod in pods] == names
    assert sum(s["restartCount"] for pod in pods for s in pod["status"]["containerStatuses"]) == 0
    assert warm.lost() == load.lost() == [], found
