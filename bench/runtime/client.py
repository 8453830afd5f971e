"""A lean load generator: N connections, open loop (latency from the intended send time) or closed loop.

Own and small, since the generator shares a machine of two cores with the server: an HTTP client library would
cost more CPU than the server that is measured.
"""

import asyncio
import json
import time
from collections import deque
from dataclasses import dataclass, field
from typing import Final, cast

import numpy as np

_END: Final = b"\r\n\r\n"


@dataclass
class Outcome:
    """What came back: latencies in seconds of the answers, and how many were refused or lost."""

    sent: int = 0
    latencies: list[float] = field(default_factory=list)
    refused: int = 0
    errors: int = 0
    seconds: float = 0.0

    def quantile(self, q: float) -> float:
        """The q-quantile of the answers' latency in seconds; nan without answers."""
        return float(np.quantile(self.latencies, q)) if self.latencies else float("nan")

    def within(self, seconds: float) -> float:
        """Answers a second that came within `seconds`."""
        return sum(1 for latency in self.latencies if latency <= seconds) / self.seconds


def binary_request(shape: tuple[int, ...], name: str, *, model: str = "m") -> bytes:
    """A whole HTTP request with one random FP32 tensor in the binary extension."""
    data = np.random.default_rng(7).random(shape, np.float32).tobytes()
    tensor = {"name": name, "datatype": "FP32", "shape": shape, "parameters": {"binary_data_size": len(data)}}
    head = json.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}}).encode()
    lines = (
        f"POST /v2/models/{model}/infer HTTP/1.1\r\nHost: bench\r\nInference-Header-Content-Length: {len(head)}\r\n"
        f"Content-Length: {len(head) + len(data)}\r\n\r\n"
    )
    return lines.encode() + head + data


class _Connection(asyncio.Protocol):
    """One request at a time: `intended` is when it should have been sent."""

    def __init__(self, load: "_Load") -> None:
        self._load = load
        self._buffer = b""
        self.intended = 0.0
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def send(self, intended: float) -> None:
        self.intended = intended
        if self.transport is not None:
            self.transport.write(self._load.request)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        end = self._buffer.find(_END)
        if end < 0:
            return
        head = self._buffer[:end].lower()
        length = int(head.split(b"content-length: ", 1)[1].split(b"\r\n", 1)[0])
        if len(self._buffer) < end + 4 + length:
            return
        self._buffer = b""
        self._load.answered(self, int(head[9:12]))

    def connection_lost(self, exc: Exception | None) -> None:
        self._load.lost(self, exc)


class _Load:
    def __init__(self, request: bytes, *, open_loop: bool) -> None:
        self.request = request
        self.outcome = Outcome()
        self.idle: deque[_Connection] = deque()
        self.due: deque[float] = deque()
        self.stopped = False
        self._open = open_loop

    def answered(self, connection: _Connection, status: int) -> None:
        now = time.monotonic()
        if status == 200:
            self.outcome.latencies.append(now - connection.intended)
        elif status == 503:
            self.outcome.refused += 1
        else:
            self.outcome.errors += 1
        if self.stopped:
            return
        if not self._open:
            self.outcome.sent += 1
            connection.send(now)
        elif self.due:
            connection.send(self.due.popleft())
        else:
            self.idle.append(connection)

    def lost(self, connection: _Connection, _exc: Exception | None) -> None:
        if not self.stopped:
            self.outcome.errors += 1
            connection.transport = None

    def offer(self, intended: float) -> None:
        self.outcome.sent += 1
        if self.idle:
            self.idle.popleft().send(intended)
        else:
            self.due.append(intended)


async def drive(
    port: int, request: bytes, *, seconds: float, connections: int, rate: float | None = None, seed: int = 1
) -> Outcome:
    """Drives the server: at `rate` requests a second with Poisson arrivals, or, without one, as fast as it answers."""
    load = _Load(request, open_loop=rate is not None)
    loop = asyncio.get_running_loop()
    made = [await loop.create_connection(lambda: _Connection(load), "127.0.0.1", port) for _ in range(connections)]
    started = time.monotonic()
    if rate is None:
        load.outcome.sent = connections
        for _, connection in made:
            connection.send(time.monotonic())
        await asyncio.sleep(seconds)
    else:
        load.idle.extend(connection for _, connection in made)
        await _arrivals(load, rate, seconds, seed)
    load.outcome.seconds = time.monotonic() - started
    if rate is not None:
        await asyncio.sleep(0.5)  # What was sent last may still be answered.
    load.stopped = True
    for transport, _ in made:
        transport.close()
    return load.outcome


async def _arrivals(load: _Load, rate: float, seconds: float, seed: int) -> None:
    gaps = np.random.default_rng(seed).exponential(1 / rate, int(rate * seconds * 1.5) + 10)
    begin = time.monotonic()
    for moment in begin + np.cumsum(gaps):
        if moment > begin + seconds:
            return
        wait = moment - time.monotonic()
        if wait > 0:
            await asyncio.sleep(wait)
        load.offer(float(moment))
