"""What a prediction costs by the socket, by the loopback address and through a Service, asked by the application.

`make bench-sidecar` runs it for long and prints the figures; in `make test` it runs for a moment, and shows only that
all three ways answer. No figure is asserted: other processes of the machine are in them.
"""

import json
import os
import statistics
from pathlib import Path
from typing import Any

import pytest
import yaml

from corefit_core import naming

pytestmark = pytest.mark.cluster
ROOT = Path(__file__).parents[2]
ROUNDS = int(os.environ.get("ROUNDS", "1"))
REQUESTS = 400 if ROUNDS > 1 else 40
CORES = {"cpu": "700m", "memory": "256Mi"}
"""Below the two CPUs of a small machine with both servers on it, and more than one closed loop keeps busy."""
CLIENT = """
import asyncio, json, os, sys, time
from aiohttp import ClientSession, TCPConnector, UnixConnector

async def main(url, socket, count):
    connector = UnixConnector(path=socket) if socket else TCPConnector()
    body = json.dumps({"inputs": [{"name": "X", "datatype": "FP32", "shape": [1, 64], "data": [1.0] * 64}]}).encode()
    headers, took = {"Content-Type": "application/json"}, []
    async with ClientSession(connector=connector) as session:
        for n in range(-20, count):
            if n == 0:
                cpu = time.process_time()
            started = time.perf_counter()
            async with session.post(url + "/v2/models/digits/infer", data=body, headers=headers) as response:
                response.raise_for_status()
                await response.read()
            if n >= 0:
                took.append(time.perf_counter() - started)
    print(json.dumps({"took": took, "cpu": time.process_time() - cpu}))

asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
"""
WAYS = ("socket", "loopback", "service")


def _cpu_s(kube: Any, pod: str, port: int) -> float:
    return float(kube.until(f"{pod} reports", lambda: kube.report(pod, port)).counters.cpu_seconds)


def _pod(kube: Any, selector: str) -> str:
    return str(kube.get("pods", "-l", selector)["items"][0]["metadata"]["name"])


def _window(kube: Any, way: str, draw: str, alone: str) -> dict[str, float]:
    """One window of requests one after another on one connection: median seconds, CPU seconds a request."""
    service = f"http://alone.{kube.namespace}:{naming.PORT_HTTP}"
    url = service if way == "service" else f"http://127.0.0.1:{naming.SIDECAR_PORT_HTTP}"
    socket = naming.SOCKET if way == "socket" else ""
    server = (alone, naming.PORT_ADMIN) if way == "service" else (draw, naming.SIDECAR_PORT_ADMIN)
    before = _cpu_s(kube, *server)
    said = kube.kubectl("exec", draw, "--container", "web", "--", "python3", "-c", CLIENT, url, socket, str(REQUESTS))
    served = _cpu_s(kube, *server) - before
    found = json.loads(said)
    assert len(found["took"]) == REQUESTS
    return {
        "median": statistics.median(found["took"]),
        "client": found["cpu"] / REQUESTS,
        "server": served / (REQUESTS + 20),
    }


def test_three_ways_to_the_same_model(kube: Any) -> None:
    beside = yaml.safe_load((ROOT / "examples/sidecar/inferenceservice.yaml").read_text())
    alone = yaml.safe_load((ROOT / "examples/digits/inferenceservice.yaml").read_text())
    still = {"resources": CORES, "scaling": {"mode": "Manual"}}
    kube.apply({**beside, "spec": {**beside["spec"], **still}})
    # A pod that came before that would have another size, and its successor no room beside it.
    kube.until("it is rendered", lambda: kube.get("cfis", "digits").get("status", {}).get("sidecar"))
    kube.draw_files()
    kube.kubectl("apply", "-f", "examples/sidecar/deployment.yaml")
    model = {**alone["spec"]["model"], "name": "digits"}
    kube.apply({**alone, "metadata": {"name": "alone"}, "spec": {**alone["spec"], **still, "model": model}})
    kube.rolled_out("deployment/draw")
    kube.wait_condition("alone", "Ready", "True")
    kube.address("alone")
    pods = _pod(kube, "app=draw"), _pod(kube, f"{naming.LABEL_SERVICE}=alone")
    # The ways take turns, so that what disturbs the machine disturbs all of them.
    windows = [{way: _window(kube, way, *pods) for way in WAYS} for _ in range(ROUNDS)]
    for figure, unit in (("median", "us"), ("client", "us of CPU"), ("server", "us of CPU")):
        middle = {way: statistics.median(w[way][figure] for w in windows) for way in WAYS}
        ratios = {way: middle[way] / middle["service"] for way in WAYS}
        print("\n" + figure, *(f"{way} {middle[way] * 1e6:.0f} {unit} ({ratios[way]:.2f})" for way in WAYS), sep="  ")
