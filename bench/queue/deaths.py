"""What the death of a pod costs behind the balancer, by the rules after which HAProxy tries a request again.

    python bench/queue/deaths.py [--kills N] [--at-once N] [--only RULE ...]

HAProxy (Debian's package haproxy) runs with the operator's own configuration before three runtimes on loopback, and
with other rules in its place. Twice it is asked what a death costs:

- Others: under load on kept and on new connections the runtimes that have most to do are killed (SIGKILL), and started
  again a second later. What got neither an answer nor an honest refusal is lost.
- Deadly: one request alone, and whichever runtime has it is killed. How many pods does it kill?
"""

import argparse
import asyncio
import contextlib
import os
import re
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import aiohttp
import msgspec
from rich.console import Console
from rich.table import Table

from corefit.demo.predictions import known_rows, payload
from corefit.load import Options, Recorder, Request, run
from corefit.load.target import json_request
from corefit_core.spec.decode import decode
from corefit_devcluster import host
from corefit_devcluster.progress import Reporter
from corefit_operator.balancer import config

ROOT: Final = Path(__file__).parents[2]
MODEL: Final = ROOT / "examples/load-model"
PODS: Final = 5
DEADLY: Final = 1
"""Requests of that kind."""
RATE: Final = 40.0
"""Requests a second in all, half of them on kept connections, half on new ones."""
BURST: Final = 24
"""Requests at once, a tenth of a second before a death: what waits in pods that are busy."""
BEFORE_S: Final = 1.0
AFTER_S: Final = 2.0
LONG: Final = 48
"""Rows of the request that kills, so that it is there for long enough to be seen; it fits into a buffer of HAProxy."""
RESTART_S: Final = 1.0
"""What a kubelet takes at least."""
DEADLINE_S: Final = 600.0
PORTS: Final = 18080, 18081, 18082, 18404
"""Of a pod: inference, admin, agent; of HAProxy: health. It serves on the first, on 127.0.0.1."""
OPERATORS: Final = "shipped"


def _rules(text: str, retries: int, on: str) -> str:
    text = re.sub(r"(?m)^  retries .*$", f"  retries {retries}", text)
    return re.sub(r"(?m)^  retry-on .*$", f"  retry-on {on}", text)


def _blind(text: str) -> str:
    """Without what is learnt from a connection that failed."""
    return re.sub(r"(?m)^  default-server observe .*\n", "", text)


RULES: Final = {
    OPERATORS: lambda text: text,
    "a failed connection is soon forgotten": _blind,
    "three retries, that as well": lambda text: _blind(_rules(text, 3, "conn-failure empty-response")),
    "three retries, none of what was sent": lambda text: _rules(text, 3, "conn-failure"),
}


class Cost(msgspec.Struct):
    """Of the deaths by one rule."""

    sent: int = 0
    refused: int = 0
    lost: int = 0
    details: dict[str, int] = msgspec.field(default_factory=dict)
    killed: list[int] = msgspec.field(default_factory=list)


def main() -> int:
    """Measures, and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=4)
    parser.add_argument("--at-once", type=int, default=1)
    parser.add_argument("--only", nargs="*", default=list(RULES), choices=list(RULES))
    options = parser.parse_args()
    table = Table(title=f"{options.kills} deaths of {options.at_once} of {PODS} pods")
    for heading in ("rules", "sent", "refused", "lost", "pods that a deadly request kills"):
        table.add_column(heading)
    for name in options.only:
        cost = asyncio.run(_cost(RULES[name], options.kills, options.at_once))
        killed = ", ".join(map(str, cost.killed))
        table.add_row(name, str(cost.sent), str(cost.refused), str(cost.lost), killed)
        print(name, msgspec.json.encode(cost).decode(), file=sys.stderr, flush=True)
    Console(width=120).print(table)
    return 0


async def _cost(rules: Callable[[str], str], kills: int, at_once: int) -> Cost:
    cost = Cost()
    with _site(rules) as pods:
        await _until(_all_up)
        for _ in range(kills):
            await _death(pods, cost, at_once)
        for _ in range(DEADLY):
            cost.killed.append(await _deadly(pods))
    return cost


class Pods:
    """Runtimes, each at an address of its own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._running: dict[int, subprocess.Popen[bytes]] = {}

    def start(self, number: int) -> None:
        """Starts one, which serves after a while."""
        port, admin, agent, _ = PORTS
        given = {"model": MODEL / "model.onnx", "name": "load-model", "host": address(number), "port": port}
        given |= {"admin-port": admin, "agent-port": agent, "control-port": 0, "objective-ms": 10_000, "cpus": 1}
        flags = [word for key, value in given.items() for word in (f"--{key}", str(value))]
        command = [sys.executable, "-m", "corefit_runtime", *flags, "--no-calibrate", "--model-dir", str(self._folder)]
        self._running[number] = subprocess.Popen(command, stderr=subprocess.DEVNULL)

    def kill(self, number: int) -> None:
        """Ends one at once."""
        process = self._running.pop(number)
        process.kill()
        process.wait()

    def stop(self) -> None:
        """Ends all."""
        for number in list(self._running):
            self.kill(number)

    @property
    def numbers(self) -> list[int]:
        """Of those that run."""
        return sorted(self._running)


@contextlib.contextmanager
def _site(rules: Callable[[str], str]) -> Iterator[Pods]:
    program = host.program("haproxy", Reporter(Console(stderr=True)))
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        pods = Pods(Path(folder))
        stack.callback(pods.stop)
        for number in range(PODS):
            pods.start(number)
        file = Path(folder) / "haproxy.cfg"
        file.write_text(rules(_configuration()))
        silent = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        environment = {**os.environ, "POD_IP": "127.0.0.1"}
        proxy = stack.enter_context(subprocess.Popen([program, "-db", "-f", str(file)], env=environment, **silent))
        stack.callback(proxy.kill)
        yield pods


def address(number: int) -> str:
    """Of a pod."""
    return f"127.0.0.{10 + number}"


def _configuration() -> str:
    """The operator's, with servers that are named instead of those that DNS names."""
    spec = {"model": {"uri": "http://models/a.onnx"}}
    text = config.text(decode({"metadata": {"name": "a", "namespace": "n", "uid": "u"}, "spec": spec}), "pods")
    port, _, agent, health = PORTS
    text = text.replace('}:8080"', f'}}:{port}"').replace(f'}}:{config.HEALTH_PORT}"', f'}}:{health}"')
    servers = "".join(f"  server pod{number} {address(number)}:{port}\n" for number in range(PODS))
    text = re.sub(r"agent-port \d+", f"agent-port {agent}", text)
    return re.sub(r"  default-server resolvers .*\n  server-template .*\n", servers, text)


def _metrics() -> str:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{PORTS[3]}/metrics") as answer:
            return str(answer.read().decode())
    except OSError:
        return ""


def _all_up() -> bool:
    """Whether each pod answers, and the balancer knows."""
    known = len(re.findall(r'(?m)^haproxy_server_status\{[^}]*state="UP"\} 1', _metrics()))
    return known == PODS and all(map(_ready, range(PODS)))


def _ready(number: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://{address(number)}:{PORTS[1]}/readyz"):
            return True
    except OSError:
        return False


def _in_flight() -> dict[int, int]:
    found = re.findall(r'(?m)^haproxy_server_current_sessions\{[^}]*server="pod(\d+)"\} (\d+)', _metrics())
    return {int(number): int(count) for number, count in found}


async def _until(condition: Callable[[], bool]) -> None:
    until_s = time.monotonic() + DEADLINE_S
    while not await asyncio.to_thread(condition):
        assert time.monotonic() < until_s
        await asyncio.sleep(0.1)


def _request(rows: int) -> Request:
    known = known_rows(MODEL / "rows.json")
    return json_request(payload(known["input"], (known["rows"] * 4)[:rows]))


async def _death(pods: Pods, cost: Cost, at_once: int) -> None:
    url, recorder, request = f"http://127.0.0.1:{PORTS[0]}/v2/models/load-model/infer", Recorder(), _request(1)
    times = [i / (RATE / 2) for i in range(round((BEFORE_S + AFTER_S) * RATE / 2))]
    burst = sorted(times + [BEFORE_S - 0.1] * BURST)
    async with asyncio.TaskGroup() as tasks:
        for requests, at in ((10**9, burst), (1, times)):
            options = Options(requests_per_connection=requests, timeout_s=60)
            tasks.create_task(run(url, [request], at, recorder=recorder, options=options))
        await asyncio.sleep(BEFORE_S)
        busy = await asyncio.to_thread(_in_flight)
        victims = sorted(busy, key=busy.__getitem__)[-at_once:]
        for victim in victims:
            pods.kill(victim)
        await asyncio.sleep(RESTART_S)
        for victim in victims:
            pods.start(victim)
    await _until(_all_up)
    summary = recorder.summary()
    cost.sent, cost.refused, cost.lost = cost.sent + summary.sent, cost.refused + summary.shed, cost.lost + summary.lost
    for detail, count in summary.details.items():
        cost.details[detail] = cost.details.get(detail, 0) + count


async def _deadly(pods: Pods) -> int:
    """How many pods a request kills that kills each pod that it comes to."""
    url = f"http://127.0.0.1:{PORTS[0]}/v2/models/load-model/infer"
    killed: list[int] = []
    async with aiohttp.ClientSession() as session:
        task = asyncio.create_task(_sent(session, url, _request(LONG).body))
        while not task.done():
            busy = {number for number, count in (await asyncio.to_thread(_in_flight)).items() if count}
            for number in busy & set(pods.numbers):
                pods.kill(number)
                killed.append(number)
            await asyncio.sleep(0.01)
        print("deadly:", await task, killed, file=sys.stderr)
    for number in killed:
        pods.start(number)
    await _until(_all_up)
    return len(killed)


async def _sent(session: aiohttp.ClientSession, url: str, body: bytes) -> int:
    headers = {"Content-Type": "application/json"}
    try:
        async with session.post(url, data=body, headers=headers) as response:
            return response.status
    except aiohttp.ClientError as error:
        print(repr(error), file=sys.stderr)
        return 0


if __name__ == "__main__":
    raise SystemExit(main())
