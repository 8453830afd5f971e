"""HAProxy with the operator's configuration before runtimes that die (SIGKILL): who is answered, and by whom.

Runtimes that are stopped (SIGSTOP) take requests and answer none, so that a test has all the time to kill them.
"""

import asyncio
import contextlib
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from rich.console import Console

from corefit_core.spec.decode import decode
from corefit_devcluster import host
from corefit_devcluster.progress import Reporter
from corefit_operator.balancer import config

PATIENCE_S = 300.0
BODY = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 4], "data": [1, 2, 3, 4]}]}
PODS = 3


@dataclass
class Balanced:
    """Runtimes by number, and the balancer before them."""

    pods: list[Any]
    port: int
    health: int

    def kill(self, number: int) -> None:
        self.pods[number].process.kill()
        self.pods[number].process.wait()

    def signal(self, number: signal.Signals) -> None:
        for pod in self.pods:
            pod.process.send_signal(number)

    def in_flight(self) -> dict[int, int]:
        """Requests of each pod, as the balancer counts them."""
        found = re.findall(r'(?m)^haproxy_server_current_sessions\{[^}]*server="pod(\d+)"\} (\d+)', self._metrics())
        return {int(number): int(count) for number, count in found}

    def weight(self, number: int) -> int:
        """What a pod weighs."""
        found = re.search(rf'(?m)^haproxy_server_weight\{{[^}}]*server="pod{number}"\}} (\d+)', self._metrics())
        return int(found[1]) if found else -1

    def up(self) -> int:
        return len(re.findall(r'(?m)^haproxy_server_status\{[^}]*state="UP"\} 1', self._metrics()))

    def _metrics(self) -> str:
        with contextlib.suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{self.health}/metrics") as answer:
            return str(answer.read().decode())
        return ""

    async def ask(self) -> tuple[int, dict[str, Any], str | None]:
        """One request on a connection of its own: status, body, Retry-After."""
        url = f"http://127.0.0.1:{self.port}/v2/models/m/infer"
        async with aiohttp.ClientSession() as session, session.post(url, json=BODY) as answer:
            return answer.status, await answer.json(), answer.headers.get("Retry-After")


Make = Callable[[list[Any]], Balanced]
OPTIONS = ("--no-calibrate", "--objective-ms", "600000", "--agent-port", "0")


@pytest.fixture
def balance(tmp_path: Path) -> Iterator[Make]:
    """Puts a balancer in front of runtimes; ends it with the test."""
    with contextlib.ExitStack() as stack:

        def begin(pods: list[Any]) -> Balanced:
            found = Balanced(pods, *_free_ports(2))
            file = tmp_path / "haproxy.cfg"
            file.write_text(_configuration(found))
            program = host.program("haproxy", Reporter(Console(file=sys.stderr)))
            environment = {**os.environ, "POD_IP": "127.0.0.1"}
            balancer = stack.enter_context(subprocess.Popen([program, "-db", "-f", str(file)], env=environment))
            stack.callback(balancer.kill)
            _until(lambda: found.up() == len(pods))
            return found

        yield begin


@pytest.fixture
def balanced(start: Any, negate: str, balance: Make) -> Balanced:
    return balance([start(*OPTIONS, model=negate) for _ in range(PODS)])


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        probes = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [int(probe.getsockname()[1]) for probe in probes]


def _configuration(found: Balanced) -> str:
    """The operator's, with servers that are named instead of those that DNS names, and ports that are free."""
    spec = {"model": {"uri": "http://models/a.onnx"}}
    text = config.text(decode({"metadata": {"name": "a", "namespace": "n", "uid": "u"}, "spec": spec}), "pods")
    text = text.replace('}:8080"', f'}}:{found.port}"').replace(f'}}:{config.HEALTH_PORT}"', f'}}:{found.health}"')
    servers = "".join(
        f"  server pod{number} 127.0.0.1:{pod.port} agent-port {pod.found_port('agent')}\n"
        for number, pod in enumerate(found.pods)
    )
    return re.sub(r"  default-server resolvers .*\n  server-template .*\n", servers, text)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """The operator's limits, a hundredth of them: of files, connections and buffers."""
    for name, value in {"OPEN_FILES": 600, "CONNECTIONS": 180, "PEER_CONNECTIONS": 90, "BUFFERS": 128}.items():
        monkeypatch.setattr(config, name, value)
    monkeypatch.setattr(config, "CLIENT_S", 2)


def _connected(found: Balanced, count: int, sends: bytes) -> list[socket.socket]:
    """Connections of one peer that reads nothing, as many as it gets."""
    peers = []
    for _ in range(count):
        with contextlib.suppress(ConnectionResetError):
            peers.append(peer := socket.create_connection(("127.0.0.1", found.port)))
            peer.setblocking(False)
            with contextlib.suppress(OSError):
                peer.send(sends)
    return peers


def _ask_from(address: str, port: int, path: str) -> int:
    """The status of one request from that address; 0 where there is no answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S, source_address=(address, 0))
    with contextlib.closing(connection), contextlib.suppress(OSError, http.client.HTTPException):
        connection.request("GET", path)
        return connection.getresponse().status
    return 0


def _until(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.02)


def _run(main: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(asyncio.wait_for(main, PATIENCE_S))


def test_a_request_that_kills_its_pod_kills_one_more_and_no_third(balanced: Balanced) -> None:
    """It went to four pods, one after the other."""
    balanced.signal(signal.SIGSTOP)
    killed: list[int] = []

    async def deadly() -> tuple[int, dict[str, Any], str | None]:
        request = asyncio.create_task(balanced.ask())
        while not request.done():
            busy = {number for number, count in (await asyncio.to_thread(balanced.in_flight)).items() if count}
            for number in busy - set(killed):
                balanced.kill(number)
                killed.append(number)
            await asyncio.sleep(0.02)
        return await request

    status, body, _ = _run(deadly())
    assert (status, len(killed)) == (502, 2), body
    assert "ended before it answered" in body["error"]


def test_what_waits_in_a_pod_that_dies_is_answered_by_the_others(balanced: Balanced) -> None:
    balanced.signal(signal.SIGSTOP)

    async def others() -> list[int]:
        requests = [asyncio.create_task(balanced.ask()) for _ in range(4 * PODS)]
        await asyncio.to_thread(_until, lambda: sum(balanced.in_flight().values()) == len(requests))
        assert balanced.in_flight()[0] == 4, "each pod has its share"
        balanced.kill(0)
        balanced.signal(signal.SIGCONT)
        return [(await request)[0] for request in requests]

    assert _run(others()) == [200] * 4 * PODS


def test_pods_that_died_at_once_get_no_second_request_each(balanced: Balanced) -> None:
    """They have the fewest requests: until a check had found both, each request went to one and then to the other."""
    balanced.kill(0)
    balanced.kill(1)

    async def one_by_one() -> list[tuple[int, dict[str, Any], str | None]]:
        return [await balanced.ask() for _ in range(20)]

    refused = [(status, body, retry) for status, body, retry in _run(one_by_one()) if status != 200]
    assert len(refused) <= 1
    assert all((status, retry) == (503, "1") for status, _, retry in refused), json.dumps([b for _, b, _ in refused])


def test_a_pod_without_a_model_gets_nothing(start: Any, negate: str, balance: Make) -> None:
    """One that starts again is there before its model, and may be in DNS from before; it got half of the requests."""
    pods = [start(*OPTIONS, model=negate), start(*OPTIONS, model=f"{negate}.missing", wait="")]
    balanced = balance(pods)
    _until(lambda: balanced.weight(0) > 0 and balanced.weight(1) == 0)

    async def one_by_one() -> list[int]:
        return [(await balanced.ask())[0] for _ in range(20)]

    assert _run(one_by_one()) == [200] * 20


def test_no_pods_load_is_taken_for_the_balancers(balanced: Balanced) -> None:
    """A proxy in front of two balancers would weigh each by whichever pod it had sent a request to."""
    wish = {"Endpoint-Load-Metrics-Format": "TEXT"}

    async def asked(port: int) -> str | None:
        url = f"http://127.0.0.1:{port}/v2/models/m/infer"
        async with aiohttp.ClientSession() as session, session.post(url, json=BODY, headers=wish) as answer:
            assert answer.status == 200
            return answer.headers.get("endpoint-load-metrics")

    assert (_run(asked(balanced.pods[0].port)) or "").startswith("TEXT cpu_utilization=")
    assert _run(asked(balanced.port)) is None


@pytest.mark.usefixtures("small")
def test_one_peer_with_idle_connections_keeps_nobody_out(balanced: Balanced) -> None:
    """Probes were not answered either, so that the kubelet ended the balancer."""
    request = b"GET /v2 HTTP/1.1\r\nHost: m\r\n\r\n"
    with contextlib.ExitStack() as stack:
        for peer in _connected(balanced, 400, request):
            stack.enter_context(peer)
        assert _ask_from("127.0.0.2", balanced.port, "/v2") == 200
        assert _ask_from("127.0.0.2", balanced.health, "/livez") == 200


@pytest.mark.usefixtures("small")
def test_clients_that_do_not_read_give_their_buffers_back(balanced: Balanced) -> None:
    """They held them for an hour: nobody else was served."""
    requests = b"GET /openapi.json HTTP/1.1\r\nHost: m\r\n\r\n" * 900
    with contextlib.ExitStack() as stack:
        for peer in _connected(balanced, 80, requests):
            stack.enter_context(peer)
        _until(lambda: _ask_from("127.0.0.2", balanced.port, "/v2") == 200)
