"""The debug endpoints of the admin port; they exist only where `--debug` is given.

`/debug/sched` tells, for each thread, the time lost to scheduling rather than to compute. `/debug/pprof/profile`
is a flame graph by py-spy, native frames of onnxruntime included, where py-spy is installed and may trace.
`/debug/ort` is onnxruntime's own account of the time that each operator took.
"""

import asyncio
import os
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs

import msgspec

from corefit_core.errors import CorefitError
from corefit_runtime.http_exchange import Exchange
from corefit_runtime.http_messages import OCTETS, TEXT, Response
from corefit_runtime.service import Service

Trace = Callable[[float], Awaitable[bytes]]
TASKS: Final = Path("/proc/self/task")
MAX_SECONDS: Final = 120.0
_SWITCHES: Final = {
    "voluntary_ctxt_switches": "voluntary_switches",
    "nonvoluntary_ctxt_switches": "involuntary_switches",
}


def schedule(service: Service, tasks: Path = TASKS) -> bytes:
    """Per thread: CPU, run-queue wait and switches; and the process's throttling."""
    threads = [told for folder in sorted(tasks.iterdir()) if (told := _thread(folder)) is not None]
    throttled = service.cgroup.throttling()
    told = {"threads": threads, "throttled_periods": throttled.periods, "throttled_seconds": throttled.seconds}
    return msgspec.json.encode(told)


def routes(
    service: Service, background: Callable[[Awaitable[None]], None], trace: Trace
) -> dict[tuple[bytes, str], Callable[[Exchange], None]]:
    """The routes for `AdminApi`. `background` runs what takes longer than the loop may wait; `trace` traces it."""
    return {
        (b"GET", "/debug/sched"): lambda exchange: exchange.reply(Response(200, [schedule(service)])),
        (b"GET", "/debug/pprof/profile"): lambda exchange: background(profile(exchange)),
        (b"GET", "/debug/ort"): lambda exchange: background(operators(exchange, trace)),
    }


async def operators(exchange: Exchange, trace: Trace) -> None:
    """Traces the operators for `?seconds=N` and answers with a file for ui.perfetto.dev or chrome://tracing."""
    seconds = _seconds(exchange.head.query)
    if seconds is None:
        exchange.reply(Response(400, [f"?seconds=N, up to {MAX_SECONDS:g}\n".encode()], TEXT))
        return
    try:
        exchange.reply(Response(200, [await trace(seconds)]))
    except CorefitError as error:
        exchange.reply(Response(503, [str(error).encode() + b"\n"], TEXT))


async def profile(exchange: Exchange) -> None:
    """Samples this process for `?seconds=N` and answers with a file for speedscope.app."""
    seconds = _seconds(exchange.head.query)
    program = shutil.which("py-spy")
    if seconds is None or program is None:
        wrong = f"?seconds=N, up to {MAX_SECONDS:g}" if seconds is None else "py-spy is not installed in this image"
        exchange.reply(Response(400 if seconds is None else 503, [wrong.encode() + b"\n"], TEXT))
        return
    arguments = ["record", "--native", "--nonblocking", "--format", "speedscope", "--output", "/dev/stdout"]
    process = await asyncio.create_subprocess_exec(
        program,
        *arguments,
        *("--duration", str(seconds), "--pid", str(os.getpid())),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    output, errors = await process.communicate()
    if process.returncode == 0:
        exchange.reply(Response(200, [output], OCTETS))
    else:
        exchange.reply(Response(503, [b"py-spy failed (it needs SYS_PTRACE): ", errors[-500:]], TEXT))


def _seconds(query: str) -> int | None:
    text = parse_qs(query).get("seconds", ["10"])[0]
    return int(text) if text.isdigit() and 0 < int(text) <= MAX_SECONDS else None


def _thread(folder: Path) -> dict[str, Any] | None:
    try:
        ran, waited, _ = (folder / "schedstat").read_text().split()
        status = dict(line.split(":", 1) for line in (folder / "status").read_text().splitlines() if ":" in line)
        name = (folder / "comm").read_text().strip()
    except (OSError, ValueError):
        return None  # It has just ended, or the kernel doesn't count.
    switches = {ours: int(status[theirs]) for theirs, ours in _SWITCHES.items() if theirs in status}
    times = {"cpu_seconds": int(ran) / 1e9, "runqueue_wait_seconds": int(waited) / 1e9}
    return {"thread": int(folder.name), "name": name, **times, **switches}
