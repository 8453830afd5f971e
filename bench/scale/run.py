"""`make bench-operator`: what the operator takes with 50 to 500 resources of ten pods each, on one core.

A real API server and etcd, resources and pods made by API calls, reports from one small program, all in a network
namespace of the bench's own; the operator is the real program, pinned to one core, and all else to the others. Prints
a table and writes it to bench/results/scale/.
"""

import argparse
import asyncio
import contextlib
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import population
import yaml
from apiserver import Api, connected
from population import PODS, SERVICES
from rich.console import Console

from corefit_devcluster.control_plane import ControlPlane
from corefit_devcluster.host import program
from corefit_devcluster.progress import Reporter

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "bench/results/scale/results.json"
METRICS = "http://127.0.0.1:9090/metrics"
CORE = 0
CHANGES = 20
PROGRAMS = ("etcd", "kube-apiserver")
USUAL_OPEN_FILES = 1024
SETTLE_S = 15.0
"""Seconds for what growing has left to be done; not measured."""


def main() -> int:
    """The bench, in a namespace of its own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[50, 125, 250, 500], help="numbers of resources")
    parser.add_argument("--window", type=float, default=30, help="seconds of each measurement")
    parser.add_argument("--profile", type=Path, help="folder for a profile of the operator of each window, by py-spy")
    parser.add_argument("--inside", nargs=len(PROGRAMS), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.inside is None:
        programs = [_program(name) for name in PROGRAMS]
        namespace = ["unshare", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"]
        return subprocess.run([*namespace, sys.executable, *sys.argv, "--inside", *programs], check=False).returncode
    subprocess.run([program("ip", Reporter(Console(stderr=True))), "link", "set", "lo", "up"], check=True)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if options.profile is not None:
        options.profile.mkdir(parents=True, exist_ok=True)
    others = os.sched_getaffinity(0) - {CORE}
    os.sched_setaffinity(0, others or {CORE})
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(_bench(Path(folder), options))
    return 0


def _program(name: str) -> str:
    command = ["corefit-devcluster", "build", "--which", name]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


async def _bench(folder: Path, options: argparse.Namespace) -> None:
    rows: list[dict[str, Any]] = []
    programs = dict(zip(PROGRAMS, map(Path, options.inside), strict=True))
    with ControlPlane(folder, programs) as plane:
        async with connected(plane, folder) as api:
            await _prepare(api)
            async with _programs(folder, plane) as (pids, told):
                done = 0
                for size in sorted(options.sizes):
                    await population.grow(api, done, size)
                    done = size
                    async with _profiled(pids["operator"], options.profile, size, options.window):
                        measured = await _measured(api, pids, told, size, options.window)
                    rows.append({"resources": size, "pods": size * PODS, **measured})
                    _show(rows[-1])
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    where = {"machine": platform.processor() or platform.machine(), "cores_of_the_operator": 1, "cores": os.cpu_count()}
    RESULTS.write_text(json.dumps({**where, "window_s": options.window, "rows": rows}, indent=2) + "\n")


async def _prepare(api: Api) -> None:
    await api.send("POST", "api/v1/namespaces", {"metadata": {"name": population.NAMESPACE}})
    crd = yaml.safe_load(next((ROOT / "crds").glob("*.yaml")).read_text())
    await api.send("POST", "apis/apiextensions.k8s.io/v1/customresourcedefinitions", crd)
    async with asyncio.timeout(60):
        while True:
            with contextlib.suppress(RuntimeError):
                await api.send("GET", SERVICES)
                return
            await asyncio.sleep(0.5)  # a CRD is served some seconds after it was made


@asynccontextmanager
async def _programs(folder: Path, plane: ControlPlane) -> AsyncIterator[tuple[Mapping[str, int], Path]]:
    """The reports' server and the operator; gives everybody's process ids and where the rounds are told."""
    told = folder / "rounds.json"
    server = await asyncio.create_subprocess_exec(sys.executable, Path(__file__).parent / "reports.py", told)
    operator = await asyncio.create_subprocess_exec(
        *("taskset", "--cpu-list", str(CORE), "prlimit", f"--nofile={USUAL_OPEN_FILES}:"),
        *(sys.executable, "-m", "corefit_operator", "run", "--kubeconfig", plane.user("operator")),
        *("--runtime-image", "corefit.local/runtime:0.1.0"),
        *("--namespace", population.NAMESPACE, "--reports-via", "pod"),
        *("--metrics-host", "127.0.0.1", "--log-level", "warning"),
    )
    try:
        yield {"operator": operator.pid, "reports": server.pid, **plane.pids()}, told
    finally:
        for process in (operator, server):
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
        await asyncio.gather(operator.wait(), server.wait())


@asynccontextmanager
async def _profiled(pid: int, folder: Path | None, size: int, window_s: float) -> AsyncIterator[None]:
    """Where the operator's time goes meanwhile, as collapsed stacks; what is measured then is disturbed by it."""
    if folder is None:
        yield
        return
    output = ("--format", "raw", "--output", folder / f"{size}.txt")
    where = ("--pid", str(pid), "--duration", str(int(SETTLE_S + window_s)))
    process = await asyncio.create_subprocess_exec("py-spy", "record", "--native", *where, *output)
    try:
        yield
    finally:
        await process.wait()


async def _measured(api: Api, pids: Mapping[str, int], told: Path, size: int, window_s: float) -> dict[str, Any]:
    await asyncio.sleep(SETTLE_S)
    before, counted, began = _cpus(pids), await _counters(), time.monotonic()
    known = len(_rounds(told))
    await asyncio.sleep(window_s)
    took = time.monotonic() - began
    after, cpus = await _counters(), _cpus(pids)
    rounds = sorted(_rounds(told)[known:])
    changes = [await _change(api, number) for number in range(min(CHANGES, size))]
    return {
        "cpu_cores": {name: round((cpus[name] - before[name]) / took, 3) for name in pids},
        "memory_mib": _memory_mib(pids["operator"]),
        "round_s_median": round(statistics.median(rounds), 2),
        "round_s_p99": round(rounds[int(0.99 * len(rounds))], 2),
        "change_s_median": round(statistics.median(changes), 3),
        "change_s_max": round(max(changes), 3),
        "per_s": {name: round((after[name] - counted[name]) / took, 1) for name in counted},
    }


def _rounds(told: Path) -> list[float]:
    found: list[float] = json.loads(told.read_bytes()) if told.exists() else []
    return found


def _cpus(pids: Mapping[str, int]) -> dict[str, float]:
    """Seconds of CPU that each has used."""
    return {name: _cpu_s(pid) for name, pid in pids.items()}


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _memory_mib(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) // 1024


async def _counters() -> dict[str, float]:
    """Sums of counters over their labels."""
    async with aiohttp.ClientSession() as session, session.get(METRICS) as answer:
        text = await answer.text()
    names = {
        "reports": "corefit_reports_total",
        "reports ok": 'corefit_reports_total{outcome="ok"}',
        "reconciles": "corefit_reconciles_total",
        "writes of status": 'corefit_api_requests_total{code="200",resource="inferenceservices/status"',
        "requests": "corefit_api_requests_total",
    }
    lines = [line.rpartition(" ") for line in text.splitlines()]
    return {name: sum(float(v) for k, _, v in lines if k.startswith(start)) for name, start in names.items()}


async def _change(api: Api, number: int) -> float:
    """Seconds from a pod's change, as the API server has it, to the status that says so."""
    pod = number * PODS
    found = await api.send("GET", f"{SERVICES}/{population.name(number)}")
    version, ready = found["metadata"]["resourceVersion"], found["status"]["readyReplicas"]
    query = f"fieldSelector=metadata.name={population.name(number)}&resourceVersion={version}"
    changes = api.watch(SERVICES, query)
    began = time.monotonic()
    await population.ready(api, pod, ready=False)
    async with asyncio.timeout(300):
        async for service in changes:
            if service.get("status", {}).get("readyReplicas") == ready - 1:
                break
    took = time.monotonic() - began
    await changes.aclose()
    await population.ready(api, pod, ready=True)
    return took


def _show(row: dict[str, Any]) -> None:
    print(
        f"{row['resources']:4d} resources {row['pods']:5d} pods: {row['cpu_cores']} cores, "
        f"{row['memory_mib']} MiB, round {row['round_s_median']:.1f} s (p99 {row['round_s_p99']:.1f}), "
        f"change to status {row['change_s_median']:.2f} s (max {row['change_s_max']:.2f}), a second: {row['per_s']}",
        flush=True,
    )


if __name__ == "__main__":
    raise SystemExit(main())
