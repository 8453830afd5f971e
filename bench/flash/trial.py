"""One school under the load: puts it up, sends, looks at what its pods request, takes it away."""

import asyncio
import contextlib
import itertools
import json
import os
import shutil
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any, Final

import aiohttp
import msgspec
import numpy as np
import yaml
from figures import Phase
from schools import NAME, School, neighbour

from corefit.demo.predictions import known_rows, load_requests
from corefit.demo.tools import Tools
from corefit.load import Recorder, run
from corefit.load.record import Sample
from corefit.simulate import synthetic
from corefit_operator.headroom import requested

NAMESPACE: Final = "flash"
DEADLINE_S: Final = 240.0
LOOK_S: Final = 0.25
AHEAD: Final = -15
"""Nice level of the load generator while it sends. It stands for other machines: pods that use all of this one must not
keep it from sending in time."""
FACTOR: Final = 4
WINDOW_S: Final = 60


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """The load: requests a second, and seconds.

    Attributes:
        base: of the level before the step; the step is to `FACTOR` times that from one moment to the next.
        settle_s: at the base, before anything counts: scalers learn it, and have what it needs.
        peak_s: of the step.
        rest_s: at the base again, before the replayed minute.
    """

    base: float
    settle_s: float
    peak_s: float
    rest_s: float

    def phases(self) -> tuple[Phase, Phase]:
        """The two that count."""
        step = self.settle_s + self.peak_s
        replay = step + self.rest_s
        return (
            Phase(name="step", begin_s=self.settle_s, end_s=step, step_s=self.settle_s),
            Phase(name="burst", begin_s=replay, end_s=replay + WINDOW_S),
        )

    def times(self) -> list[float]:
        """When requests are sent: Poisson, the same in every trial."""
        step, burst = self.phases()
        level = itertools.chain(
            _poisson(self.base, 0.0, step.begin_s, 1),
            _poisson(FACTOR * self.base, step.begin_s, step.end_s, 2),
            _poisson(self.base, step.end_s, burst.begin_s, 3),
        )
        return [*level, *(burst.begin_s + at for at in minute(FACTOR * self.base))]


def _poisson(rate: float, begin_s: float, end_s: float, seed: int) -> list[float]:
    gaps = np.random.default_rng(seed).exponential(1 / rate, int(2 * rate * (end_s - begin_s) + 100)).cumsum()
    return [float(begin_s + at) for at in gaps if begin_s + at < end_s]


def minute(peak: float) -> list[float]:
    """The minute of the synthetic bursty hour in which the load rises most, from its start."""
    trace = synthetic.trace("bursty", peak)

    def rise(at: int) -> float:
        return _between(trace, at + 30, at + WINDOW_S) - _between(trace, at, at + 10)

    begin = max(range(3600 - WINDOW_S), key=rise)
    return [float(at - begin) for at in trace.arrivals if begin <= at < begin + WINDOW_S]


def _between(trace: Any, begin: float, end: float) -> float:
    return float(((trace.arrivals >= begin) & (trace.arrivals < end)).sum() / (end - begin))


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """What a trial gave: the requests, cores requested by time, and cores that the hypervisor gave to others."""

    samples: list[Sample]
    requested: list[tuple[float, float]]
    stolen_cores: float


class Stage:
    """The cluster as a trial sees it."""

    def __init__(self, tools: Tools, environment: dict[str, str]) -> None:
        self.tools = tools
        self._environment = environment
        # By the cluster's own PATH, which `subprocess` would not look at.
        self._kubectl = str(shutil.which("kubectl", path=environment["PATH"]))

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

    @contextlib.asynccontextmanager
    async def listing(self) -> AsyncIterator[str]:
        """The URL of the list of pods by `kubectl proxy`: a look costs a tenth of a kubectl."""
        command = [self._kubectl, "proxy", "--port=0", "--address=127.0.0.1"]
        process = await asyncio.create_subprocess_exec(*command, env=self._environment, stdout=asyncio.subprocess.PIPE)
        assert process.stdout is not None
        try:
            address = (await process.stdout.readline()).decode().split()[-1]
            yield f"http://{address}/api/v1/namespaces/{NAMESPACE}/pods"
        finally:
            process.terminate()
            await process.wait()


def measure(stage: Stage, school: School, plan: Plan, root: Path) -> Seen:
    """Puts a school up, sends the load, and takes it away."""
    stage.clear()
    if school.neighbour:
        stage.apply([neighbour()])
        stage.kubectl("wait", "--for=condition=Ready", "pod/neighbour", "--timeout=240s")
    stage.apply(school.manifests)
    stage.until("a pod serves", lambda: any(_ready(pod) for pod in stage.pods()))
    requests = load_requests(known_rows(root / "examples/load-model/rows.json"))
    level = os.getpriority(os.PRIO_PROCESS, 0)
    os.setpriority(os.PRIO_PROCESS, 0, AHEAD)
    try:
        return asyncio.run(_sent(stage, plan, requests))
    finally:
        os.setpriority(os.PRIO_PROCESS, 0, level)
        stage.clear()


def _ready(pod: dict[str, Any]) -> bool:
    conditions = pod["status"].get("conditions", ())
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


async def _sent(stage: Stage, plan: Plan, requests: Sequence[Any]) -> Seen:
    recorder, cores = Recorder(), [(0.0, 0.0)]
    stolen, begun = _stolen_s(), time.monotonic()
    start = asyncio.get_running_loop().time() + 1.0
    async with stage.listing() as url, aiohttp.ClientSession() as session:
        looking = asyncio.create_task(_look(session, url, start, cores))
        try:
            await run(stage.url(), requests, plan.times(), recorder=recorder, start=start)
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
