"""The debug endpoints of the control port; they exist only where `--debug` is given.

`/debug/sched` tells, for each thread, the time lost to scheduling rather than to compute. `/debug/pprof/profile`
is a flame graph by py-spy, native frames of onnxruntime included, where py-spy is installed (the extra `debug`).
`/debug/ort` is onnxruntime's own account of the time that each operator took.
"""

import asyncio
import contextlib
import ctypes
import os
import shutil
import sys
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs

import msgspec

from corefit_core.errors import CorefitError
from corefit_runtime.http.exchange import Exchange
from corefit_runtime.http.messages import OCTETS, TEXT, Response
from corefit_runtime.telemetry.cpu import CpuMeter

Trace = Callable[[float], Awaitable[bytes]]
TASKS: Final = Path("/proc/self/task")
MAX_SECONDS: Final = 120.0
_PR_SET_PTRACER: Final = 0x59616D61
_PR_SET_PTRACER_ANY: Final = 2**64 - 1
"""prctl(2). Any process of the same user, since the child's id isn't known before it runs."""
_SWITCHES: Final = {
    "voluntary_ctxt_switches": "voluntary_switches",
    "nonvoluntary_ctxt_switches": "involuntary_switches",
}


def schedule(cpu: CpuMeter, tasks: Path = TASKS) -> bytes:
    """Per thread: CPU, run-queue wait and switches; and the process's throttling."""
    threads = [thread for folder in sorted(tasks.iterdir()) if (thread := _thread(folder)) is not None]
    throttled = cpu.throttling()
    return msgspec.json.encode(
        {"threads": threads, "throttled_periods": throttled.periods, "throttled_seconds": throttled.seconds}
    )


def routes(
    cpu: CpuMeter, background: Callable[[Exchange, Awaitable[None]], None], trace: Trace
) -> dict[tuple[bytes, str], Callable[[Exchange], None]]:
    """The routes for the control port. `background` runs what may take longer than the loop waits."""
    return {
        (b"GET", "/debug/sched"): lambda exchange: exchange.reply(Response(200, [schedule(cpu)])),
        (b"GET", "/debug/pprof/profile"): lambda exchange: background(exchange, profile(exchange)),
        (b"GET", "/debug/ort"): lambda exchange: background(exchange, operators(exchange, trace)),
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
    program = _py_spy()
    if seconds is None or program is None:
        wrong = f"?seconds=N, up to {MAX_SECONDS:g}" if seconds is None else "py-spy is not installed (extra `debug`)"
        exchange.reply(Response(400 if seconds is None else 503, [wrong.encode() + b"\n"], TEXT))
        return
    profiled, errors = await _sampled(program, seconds)
    if errors:
        exchange.reply(Response(503, [b"py-spy failed: ", errors[-500:], b"\n"], TEXT))
    else:
        exchange.reply(Response(200, [profiled], OCTETS))


async def _sampled(program: str, seconds: int) -> tuple[bytes, bytes]:
    """The profile, or what went wrong."""
    output = os.memfd_create("profile")  # In memory: where this runs, the root is read-only.
    try:
        with _traceable():
            process = await asyncio.create_subprocess_exec(
                program,
                *("record", "--native", "--threads", "--format", "speedscope", "--pid", str(os.getpid())),
                *("--output", f"/proc/self/fd/{output}", "--duration", str(seconds)),
                pass_fds=(output,),
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.PIPE,
            )
            _, errors = await process.communicate()
        failed = b"" if process.returncode == 0 else errors or b"no reason given"
        return os.pread(output, os.fstat(output).st_size, 0), failed
    finally:
        os.close(output)


def _py_spy() -> str | None:
    """On the PATH, or beside the interpreter of an environment that isn't activated."""
    return shutil.which("py-spy") or shutil.which("py-spy", path=str(Path(sys.executable).parent))


@contextlib.contextmanager
def _traceable() -> Iterator[None]:
    """Lets our own child trace us where Yama allows it to ancestors only (ptrace_scope 1): SYS_PTRACE isn't needed."""
    libc = ctypes.CDLL(None)
    libc.prctl(_PR_SET_PTRACER, ctypes.c_ulong(_PR_SET_PTRACER_ANY), 0, 0, 0)
    try:
        yield
    finally:
        libc.prctl(_PR_SET_PTRACER, 0, 0, 0, 0)


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
