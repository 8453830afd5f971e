"""Starts the servers that are measured, pinned to one CPU, and reads what they and their neighbours used."""

import contextlib
import json
import os
import re
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

SERVER_CPU: Final = 0
CLIENT_CPU: Final = 1
_TICK: Final = os.sysconf("SC_CLK_TCK")


@dataclass
class Server:
    """A server that is up."""

    pid: int
    port: int
    admin: int = 0

    def cpu_seconds(self) -> float:
        """User and system CPU time so far."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICK

    def report(self) -> dict[str, Any]:
        """The runtime's report."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.admin}/report") as response:  # noqa: S310 - our own
            return dict(json.load(response))


def cpu_busy_seconds(cpu: int) -> float:
    """Seconds that a CPU has been busy, steal included, for whomever."""
    for line in Path("/proc/stat").read_text().splitlines():
        if line.startswith(f"cpu{cpu} "):
            fields = [int(v) for v in line.split()[1:9]]
            return (sum(fields) - fields[3] - fields[4]) / _TICK
    raise RuntimeError(f"no CPU {cpu}")


@contextlib.contextmanager
def corefit(model: Path, *options: str, cpus: set[int] | None = None) -> Iterator[Server]:
    """`corefit-runtime` on this model."""
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        arguments = [*("--model", str(model), "--name", "m", "--host", "127.0.0.1", "--port", "0", "--admin-port", "0")]
        arguments += ["--model-dir", folder, "--drain-seconds", "0", *options]
        with log.open("wb") as sink, _process(["-m", "corefit_runtime", *arguments], cpus, sink) as process:
            _until(process, lambda: "ready after" in log.read_text(), log)
            ports = dict(re.findall(r"(admin|inference) port (\d+)", log.read_text()))
            yield Server(process.pid, int(ports["inference"]), int(ports["admin"]))


@contextlib.contextmanager
def bare_aiohttp(model: Path) -> Iterator[Server]:
    """The bare handler on this model."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with _process(["-m", "bench.runtime.baseline", "aiohttp", str(model), str(port)], None, None) as process:
        _until(process, lambda: _listens(port), None)
        yield Server(process.pid, port)


def raw(model: Path, seconds: float) -> dict[str, float]:
    """onnxruntime in a loop, in a process of its own."""
    arguments = [sys.executable, "-m", "bench.runtime.baseline", "raw", str(model), str(seconds)]
    done = subprocess.run(arguments, check=True, capture_output=True, preexec_fn=_pin({SERVER_CPU}))
    return dict(json.loads(done.stdout))


@contextlib.contextmanager
def _process(arguments: list[str], cpus: set[int] | None, log: Any) -> Iterator["subprocess.Popen[bytes]"]:
    process = subprocess.Popen([sys.executable, *arguments], stderr=log, preexec_fn=_pin(cpus or {SERVER_CPU}))
    try:
        yield process
    finally:
        process.terminate()
        process.wait(30)


def _pin(cpus: set[int]) -> Any:
    return lambda: os.sched_setaffinity(0, cpus)


def _until(process: "subprocess.Popen[bytes]", condition: Any, log: Path | None) -> None:
    end = time.monotonic() + 60
    while not condition():
        if process.poll() is not None or time.monotonic() > end:
            raise RuntimeError(f"the server did not start: {log.read_text() if log else ''}")
        time.sleep(0.05)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
