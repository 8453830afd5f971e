"""`make bench-startup`: from PodScheduled to Ready on a quarter of a core, with and without a boost, and where it goes.

    python bench/startup/run.py [--pods 5] [--keep]

One pod at a time on a real cluster, of a small model (150 KB by HTTP) and a large one (100 MB, a file on the node). The
parts up to the process come from a watch on the pod, those within it from its log and its report. Prints a table and
writes bench/results/startup/results.json.
"""

import argparse
import asyncio
import contextlib
import json
import os
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import aiohttp
import msgspec
import yaml
from bench.models import generate
from rich.console import Console
from rich.table import Table

from corefit.demo import stage as demo
from corefit.demo.tools import Tools
from corefit_devcluster.api_proxy import api_proxy

ROOT: Final = Path(__file__).parents[2]
RESULTS: Final = ROOT / "bench/results/startup/results.json"
CLUSTER: Final = os.environ.get("COREFIT_TEST_CLUSTER", "startup")
NAMESPACE: Final = "startup"
NAME: Final = "starting"
LEAST: Final = "250m"
BOOST: Final = "1500m"
DEADLINE_S: Final = 240.0
SHRUNK_S: Final = 3.0
"""Seconds for which a pod is kept after it is ready: the boost is taken back within one."""
READY: Final = "ready after"
PARTS: Final = ("sandbox", "container", "imports", "libraries", "model", "probe")
Case = tuple[str, str]


class Start(msgspec.Struct, frozen=True, kw_only=True):
    """One pod's start, seconds.

    Attributes:
        total: from PodScheduled to Ready, as the watch saw them.
        sandbox: until the pod has its network.
        container: from there until the process was started.
        imports: from there until the admin port answered: the interpreter and what it imports first.
        libraries: from there until numpy and onnxruntime were there and the inference port was open.
        model: from there until the model was fetched, loaded, warm and measured.
        probe: from there until the API server had the pod as ready: the kubelet's probes and its status.
        process: the start by the process's own account.
    """

    total: float
    sandbox: float
    container: float
    imports: float
    libraries: float
    model: float
    probe: float
    process: float


def main() -> int:
    """Measures, and writes what it found."""
    parser = argparse.ArgumentParser(description="from PodScheduled to Ready")
    parser.add_argument("--pods", type=int, default=5, help="of each kind (5)")
    parser.add_argument("--keep", action="store_true", help="leave the cluster")
    arguments = parser.parse_args()
    tools = demo.environment(ROOT)
    try:
        with _large() as folder:
            found = _measured(tools, folder, arguments.pods)
    finally:
        if not arguments.keep:
            tools.run("corefit-devcluster", "down", "--name", CLUSTER)
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    kept = {f"{model}, {cpu}": starts for (model, cpu), starts in found.items()}
    RESULTS.write_bytes(msgspec.json.format(msgspec.json.encode(kept)) + b"\n")
    _show(found)
    return 0


@contextlib.contextmanager
def _large() -> Iterator[Path]:
    """A folder that the pods' user may read, with the large model."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as made:
        folder = Path(made)
        folder.chmod(0o755)
        shutil.copyfile(generate.ensure("mlp-100mb"), folder / "model.onnx")
        (folder / "model.onnx").chmod(0o644)
        yield folder


def _measured(tools: Tools, folder: Path, pods: int) -> dict[Case, list[Start]]:
    tools = demo.bare(tools, CLUSTER, NAMESPACE)
    cases = [(model, cpu) for model in ("small", "large") for cpu in (LEAST, BOOST)]
    found: dict[Case, list[Start]] = {case: [] for case in cases}
    # In turn, so that what disturbs the machine for a while disturbs all.
    for _ in range(pods):
        for case in cases:
            found[case].append(asyncio.run(_started(tools, _resource(case, folder))))
            print(case, found[case][-1], flush=True)
    return found


def _resource(case: Case, folder: Path) -> dict[str, Any]:
    resource: dict[str, Any] = yaml.safe_load((ROOT / "examples/load-model/inferenceservice.yaml").read_text())
    model, cpu = case
    spec = resource["spec"] | {
        "resources": {"cpu": LEAST, "memory": "768Mi"},
        "startup": {"cpu": cpu},
        "scaling": {"mode": "Manual", "replicas": 1},
    }
    if model == "large":
        mount = {"name": "large", "mountPath": "/mnt/large", "readOnly": True}
        spec["model"] = {"uri": "file:///mnt/large/model.onnx"}
        spec["template"] = {
            "volumes": [{"name": "large", "hostPath": {"path": str(folder)}}],
            "volumeMounts": [mount],
        }
    return {**resource, "metadata": {"name": NAME}, "spec": spec}


async def _started(tools: Tools, resource: dict[str, Any]) -> Start:
    """Makes a pod start, follows it, and takes it away."""
    with api_proxy(tools.environment) as base:
        async with aiohttp.ClientSession() as session:
            pods = f"{base}/api/v1/namespaces/{NAMESPACE}/pods"
            following = asyncio.create_task(_follow(session, pods))
            await asyncio.sleep(0.2)
            await asyncio.to_thread(_apply, tools.environment, resource)
            name, at = await asyncio.wait_for(following, DEADLINE_S)
            log = await asyncio.wait_for(_log(session, f"{pods}/{name}/log"), DEADLINE_S)
            async with session.get(f"{pods}/{name}:8081/proxy/report") as response:
                process = float(json.loads(await response.read())["startup_s"])
            await asyncio.sleep(SHRUNK_S)
    delete = ("--namespace", NAMESPACE, "delete", "--wait=true", "--cascade=foreground")
    await asyncio.to_thread(tools.run, "kubectl", *delete, "inferenceservice", NAME)
    return _parts(at, log, process)


async def _log(session: aiohttp.ClientSession, url: str) -> list[dict[str, Any]]:
    """The pod's log up to where it says that it is ready, which it does after the kubelet was told."""
    lines: list[dict[str, Any]] = []
    async with session.get(url, params={"follow": "true"}) as response:
        async for line in response.content:
            if line.startswith(b"{"):
                lines.append(json.loads(line))
                if lines[-1]["message"].startswith(READY):
                    break
    return lines


def _parts(at: dict[str, float], log: list[dict[str, Any]], process: float) -> Start:
    admin, inference, ready = (_logged(log, text) for text in ("admin port", "inference port", READY))
    began = ready - process
    return Start(
        total=at["Ready"] - at["PodScheduled"],
        sandbox=at["PodReadyToStartContainers"] - at["PodScheduled"],
        container=began - at["PodReadyToStartContainers"],
        imports=admin - began,
        libraries=inference - admin,
        model=ready - inference,
        probe=at["Ready"] - ready,
        process=process,
    )


def _logged(log: list[dict[str, Any]], text: str) -> float:
    line = next(line for line in log if line["message"].startswith(text))
    return datetime.fromisoformat(line["time"]).timestamp()


async def _follow(session: aiohttp.ClientSession, pods: str) -> tuple[str, dict[str, float]]:
    """When each condition of the first pod of ours was seen true, by the wall clock that the pod's log has too."""
    at: dict[str, float] = {}
    async with session.get(pods, params={"watch": "1"}, timeout=aiohttp.ClientTimeout(total=DEADLINE_S)) as response:
        async for line in response.content:
            pod = json.loads(line)["object"]
            if not pod["metadata"]["name"].startswith(f"{NAME}-"):
                continue
            for condition in pod["status"].get("conditions", ()):
                if condition["status"] == "True":
                    at.setdefault(condition["type"], time.time())
            if "Ready" in at:
                return pod["metadata"]["name"], at
    raise TimeoutError("the watch ended before a pod was ready")


def _apply(environment: dict[str, str], resource: dict[str, Any]) -> None:
    program = shutil.which("kubectl", path=environment["PATH"])
    command = [str(program), "--namespace", NAMESPACE, "apply", "-f", "-"]
    text = json.dumps(resource)
    subprocess.run(command, env=environment, input=text, text=True, check=True, stdout=subprocess.DEVNULL)


def _show(found: dict[Case, list[Start]]) -> None:
    table = Table(title="seconds from PodScheduled to Ready: medians", title_justify="left")
    for heading in ("model", "starts with", "pods", "total", "least", "most", *PARTS):
        table.add_column(heading, justify="right")
    for (model, cpu), starts in found.items():
        totals = [start.total for start in starts]
        parts = [statistics.median(getattr(start, part) for start in starts) for part in PARTS]
        figures = [statistics.median(totals), min(totals), max(totals), *parts]
        table.add_row(model, cpu, str(len(starts)), *(f"{value:.2f}" for value in figures))
    console = Console(width=None if os.isatty(1) else 140)
    console.print(table)
    for model in ("small", "large"):
        plain, boosted = (statistics.median(s.total for s in found[model, cpu]) for cpu in (LEAST, BOOST))
        console.print(f"{model}: {plain / boosted:.1f} times shorter with {BOOST} than with {LEAST}")


if __name__ == "__main__":
    raise SystemExit(main())
