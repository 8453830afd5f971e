"""What the balancer adds to a request: latency and CPU, for 1 KB and for 600 KB.

    python bench/queue/added.py HAPROXY

HAPROXY is the program (Debian's package haproxy has it). It runs with the operator's own configuration on the loopback
interface, before a server that reads a request and answers 300 bytes, so that the difference is the balancer's. One
connection sends one request after the other, to the server itself and through the balancer in turn.
"""

import asyncio
import contextlib
import os
import re
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.table import Table

from corefit_core.spec.decode import decode
from corefit_operator.balancer import config

SERVER, BALANCER, HEALTH = 19001, 19002, 19003
SIZES: Final = {1_000: 3_000, 600_000: 1_000}
"""Bytes of a body, and how many are sent."""
ROUNDS: Final = 5
ANSWER: Final = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 300\r\n\r\n" + b"x" * 300
LENGTH: Final = re.compile(rb"(?i)content-length: (\d+)")


def main() -> int:
    """Measures, and prints a table."""
    table = Table(title="one request after the other on one connection, medians of the rounds")
    for heading in ("body", "server alone p50 ms", "with balancer p50 ms", "balancer CPU us a request"):
        table.add_column(heading, justify="right")
    for row in asyncio.run(_measured(sys.argv[1])):
        table.add_row(*row)
    Console().print(table)
    return 0


async def _measured(program: str) -> list[tuple[str, ...]]:
    server = await asyncio.start_server(_serve, "127.0.0.1", SERVER)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "haproxy.cfg"
        file.write_text(_configuration())
        environment = {**os.environ, "POD_IP": "127.0.0.1"}
        command = [program, "-db", "-f", str(file)]
        process = await asyncio.create_subprocess_exec(*command, env=environment, stdout=asyncio.subprocess.DEVNULL)
        try:
            await _listening()
            return [await _row(process.pid, size, count) for size, count in SIZES.items()]
        finally:
            process.terminate()
            await process.wait()
            server.close()


def _configuration() -> str:
    """The operator's, with the one server instead of those that DNS names."""
    spec = {"model": {"uri": "http://models/a.onnx"}}
    text = config.text(decode({"metadata": {"name": "a", "namespace": "n", "uid": "u"}, "spec": spec}), "pods")
    text = text.replace('}:8080"', f'}}:{BALANCER}"').replace(f'}}:{config.HEALTH_PORT}"', f'}}:{HEALTH}"')
    return re.sub(r"  default-server .*\n  server-template .*\n", f"  server pod 127.0.0.1:{SERVER}\n", text)


async def _listening() -> None:
    while True:
        with contextlib.suppress(OSError):
            (await asyncio.open_connection("127.0.0.1", BALANCER))[1].close()
            return
        await asyncio.sleep(0.1)


async def _row(pid: int, size: int, count: int) -> tuple[str, ...]:
    alone, through, used = [], [], []
    for _ in range(ROUNDS):
        alone.append(await _p50_ms(SERVER, size, count // ROUNDS))
        before = _cpu_s(pid)
        through.append(await _p50_ms(BALANCER, size, count // ROUNDS))
        used.append(1e6 * (_cpu_s(pid) - before) / (count // ROUNDS))
    figures = (statistics.median(alone), statistics.median(through), statistics.mean(used))
    return f"{size:,}", *(f"{value:.{digits}f}" for value, digits in zip(figures, (3, 3, 0), strict=True))


async def _p50_ms(port: int, size: int, count: int) -> float:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    head = f"POST /v2/models/a/infer HTTP/1.1\r\nHost: a\r\nContent-Length: {size}\r\n\r\n".encode()
    took = []
    for _ in range(count):
        begun = time.perf_counter()
        writer.write(head + b"x" * size)
        await _received(reader)
        took.append(time.perf_counter() - begun)
    writer.close()
    return 1000 * statistics.median(took)


async def _received(reader: asyncio.StreamReader) -> None:
    found = LENGTH.search(await reader.readuntil(b"\r\n\r\n"))
    await reader.readexactly(int(found[1]) if found else 0)


async def _serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
        while True:
            await _received(reader)
            writer.write(ANSWER)
    writer.close()


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    raise SystemExit(main())
