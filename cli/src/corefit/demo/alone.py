"""The runtime alone on this machine, within a CPU quota: what there is to see before there is a cluster.

Starts the real runtime with the real model, asks it, drives it, and raises its quota while it serves. Knows no
Kubernetes.
"""

import asyncio
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import aiohttp
import msgspec
import numpy as np

from corefit.demo.predictions import check_digits, payload
from corefit.demo.settings import DIGITS
from corefit.demo.tools import StepFailed, Tools
from corefit.demo.view import Console
from corefit.load.command import milliseconds
from corefit_core.report import Report, decode

CGROUP: Final = f"demo-{os.getpid()}"
START_MILLICORES: Final = 1000
"""A start takes most of a second of CPU, at any size."""
QUOTAS_MILLICORES: Final = (100, 250)
"""Small, since the client takes three times the CPU of such a model: above this it would be measured instead."""
OBJECTIVE_MS: Final = 200
CLIENTS: Final = 4
LOAD_S: Final = 3.0
START_S: Final = 300.0
"""Seconds until a runtime that isn't ready has failed: it takes two, and neighbours may have the CPU."""
SHADES: Final = " .:-=+*#%@"


class Driven(msgspec.Struct, frozen=True, kw_only=True):
    """What a few clients got, each of which waits for its answer before it asks again."""

    seconds: float
    latencies_s: list[float]
    refused: int
    cpu_seconds: float

    def __str__(self) -> str:
        rate = len(self.latencies_s) / self.seconds
        p50, p99 = np.quantile(self.latencies_s, [0.5, 0.99]) if self.latencies_s else (None, None)
        return (
            f"{rate:.0f} predictions a second, p50 {milliseconds(p50)}, p99 {milliseconds(p99)}, "
            f"{self.refused} refused, {self.cpu_seconds / self.seconds:.2f} cores used"
        )


class Alone:
    """A runtime that serves `digits` on 127.0.0.1.

    Args:
        procs: the file that puts the process into a cgroup; None without one, and then only the sizing knows the quota.
    """

    def __init__(self, root: Path, procs: Path | None) -> None:
        self._folder = tempfile.TemporaryDirectory()
        self._log = Path(self._folder.name) / "runtime.log"
        model = root / "examples" / DIGITS / "model.onnx"
        command = [
            *(sys.executable, "-m", "corefit_runtime", "--model", str(model), "--name", DIGITS),
            *("--host", "127.0.0.1", "--port", "0", "--admin-port", "0", "--drain-seconds", "0"),
            *("--objective-ms", str(OBJECTIVE_MS), "--model-dir", self._folder.name),
        ]
        if procs is None:
            command += ["--cpus", f"{QUOTAS_MILLICORES[-1]}m"]
        else:
            command = ["sh", "-c", 'echo $$ > "$0" && exec "$@"', str(procs), *command]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)

    def close(self) -> None:
        """End it."""
        self._process.kill()
        self._process.wait()
        self._folder.cleanup()

    @property
    def url(self) -> str:
        """Of the model's predictions."""
        return f"http://127.0.0.1:{self._port('inference')}/v2/models/{DIGITS}/infer"

    async def until_ready(self) -> None:
        """Wait until it serves.

        Raises:
            StepFailed: it ended, or is not ready in time; the message has its log.
        """
        end = time.monotonic() + START_S
        while not await self._ready():
            if self._process.poll() is not None or time.monotonic() > end:
                raise StepFailed(f"the runtime did not become ready:\n{self._log.read_text()}")
            await asyncio.sleep(0.05)

    async def report(self) -> Report:
        """What the runtime says of itself now."""
        async with aiohttp.ClientSession() as session, session.get(f"{self._admin()}/report") as response:
            return decode(await response.read())

    async def until_granted(self, millicores: int) -> Report:
        """Wait until it has seen its new quota and has sized itself to it."""
        end = time.monotonic() + START_S
        while (report := await self.report()).plan.grant_millicores != millicores:
            if time.monotonic() > end:
                raise StepFailed(f"the runtime did not notice its new quota:\n{self._log.read_text()}")
            await asyncio.sleep(0.05)
        return report

    async def drive(self, body: Any, seconds: float = LOAD_S) -> Driven:
        """Ask again and again, from a few clients."""
        before, begun = await self.report(), time.monotonic()
        latencies: list[float] = []
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=START_S)) as session:
            counts = await asyncio.gather(
                *(_client(session, self.url, body, begun + seconds, latencies) for _ in range(CLIENTS))
            )
        after = await self.report()
        return Driven(
            seconds=time.monotonic() - begun,
            latencies_s=latencies,
            refused=sum(counts),
            cpu_seconds=after.counters.cpu_seconds - before.counters.cpu_seconds,
        )

    async def _ready(self) -> bool:
        if not self._port("inference"):
            return False
        try:
            async with aiohttp.ClientSession() as session, session.get(f"{self._admin()}/readyz") as response:
                return response.ok
        except aiohttp.ClientError:
            return False

    def _admin(self) -> str:
        return f"http://127.0.0.1:{self._port('admin')}"

    def _port(self, kind: str) -> int:
        found = re.search(rf"{kind} port (\d+)", self._log.read_text())
        return int(found[1]) if found else 0


async def _client(session: aiohttp.ClientSession, url: str, body: Any, until: float, latencies: list[float]) -> int:
    """One client; returns how often it was refused, and waits a little after that."""
    refused = 0
    while (begun := time.monotonic()) < until:
        async with session.post(url, json=body) as response:
            await response.read()
            if response.ok:
                latencies.append(time.monotonic() - begun)
            else:
                refused += 1
                await asyncio.sleep(0.05)
    return refused


@contextmanager
def served(root: Path, tools: Tools, console: Console) -> Iterator[None]:
    """Show the runtime alone; it serves on until the context ends."""
    with _quota(tools, console) as procs:
        alone = Alone(root, procs)
        try:
            asyncio.run(_show(root, alone, tools if procs is not None else None, console))
            yield
        finally:
            alone.close()


async def _show(root: Path, alone: Alone, tools: Tools | None, console: Console) -> None:
    known = msgspec.json.decode((root / "examples" / DIGITS / "rows.json").read_bytes())
    await alone.until_ready()
    for line in picture(known["rows"][0]):
        console.say(f"    {line}")
    accuracy = await check_digits(alone.url, known)
    console.say(
        f"    It reads {known['predictions'][0]} in this, the first of {accuracy.rows} digits that it never saw; "
        f"{accuracy.as_predicted} of {accuracy.rows} answers are the model's own."
    )
    body = payload(known["input"], known["rows"][:1])
    if tools is None:
        console.say(f"    sized for {QUOTAS_MILLICORES[-1]}m: {sized(await alone.report())}")
        console.say(f"    {CLIENTS} clients get {await alone.drive(body)}")
    else:
        for quota in QUOTAS_MILLICORES:
            _grant(tools, quota)
            console.say(f"    quota {quota}m: {sized(await alone.until_granted(quota))}")
            console.say(f"    {CLIENTS} clients get {await alone.drive(body)}")
    console.say(f"    It serves until the cluster's programs are there: POST {alone.url}")


@contextmanager
def _quota(tools: Tools, console: Console) -> Iterator[Path | None]:
    """A cgroup with a quota, or None where this user or machine can't have one, which is said."""
    try:
        procs = _grant(tools, START_MILLICORES)
    except StepFailed:
        console.say("    No cgroup can be made here (above: why), so nothing holds the runtime to a quota.")
        yield None
        return
    try:
        yield procs
    finally:
        tools.run("corefit-devcluster", "quota", CGROUP, "--remove")


def _grant(tools: Tools, millicores: int) -> Path:
    return Path(tools.run("corefit-devcluster", "quota", CGROUP, "--millicores", str(millicores)).strip())


def sized(report: Report) -> str:
    """What the runtime made of what it is granted, and what it measured."""
    plan = report.plan
    workers = "1 worker" if plan.workers == 1 else f"{plan.workers} workers"
    threads = "1 thread" if plan.threads_per_worker == 1 else f"{plan.threads_per_worker} threads"
    runs = [run.seconds for run in report.profile if run.rows == 1 and run.threads == plan.threads_per_worker]
    return f"{workers} of {threads}" + (f", {1000 * min(runs):.3f} ms a run" if runs else "")


def picture(row: "list[float]") -> list[str]:
    """The 8 x 8 grey values, 0 to 16, of a digit as lines of text."""
    levels = [SHADES[min(len(SHADES) - 1, int(value * len(SHADES) / 17))] * 2 for value in row]
    return ["".join(levels[start : start + 8]).rstrip() for start in range(0, len(row), 8)]
