"""Starts the contenders as processes of their own, waits until they serve, and ends them.

Knows how to start them, not what is measured.
"""

import contextlib
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

import msgspec
from bench.runtime import priority

ROOT: Final = Path(__file__).resolve().parents[2]
MODEL: Final = "bench"
"""The name that every server serves its model under."""
_START_S: Final = 60.0


class Server(msgspec.Struct, frozen=True, kw_only=True):
    """A running server: its process, its port, and its admin port when it has one; `cpu` when it is pinned to one."""

    pid: int
    port: int
    cpu: int | None
    admin_port: int | None = None

    def report(self) -> bytes:
        """Corefit's own report."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.admin_port}/report", timeout=10) as answer:
            return bytes(answer.read())


Starter = Callable[[], "contextlib.AbstractContextManager[Server]"]
Enter = Callable[[int], None]
"""What is done with a new process's id before it runs: putting it into a cgroup."""


@contextlib.contextmanager
def corefit(model: Path, *options: str, cpu: int | None, enter: Enter | None = None) -> Iterator[Server]:
    """`corefit-runtime` on the model; pinned to `cpu` unless None."""
    port, admin = _free_port(), _free_port()
    argv = [
        str(Path(sys.executable).with_name("corefit-runtime")),
        *("--model", str(model), "--name", MODEL, "--port", str(port), "--admin-port", str(admin)),
        *("--host", "127.0.0.1", "--drain-seconds", "0", "--log-level", "warning", *options),
    ]
    with process(argv, cpu=cpu, enter=enter) as running:
        _until(running, lambda: _answers(f"http://127.0.0.1:{admin}/readyz"))
        yield Server(pid=running.pid, port=port, cpu=cpu, admin_port=admin)


@contextlib.contextmanager
def other(module: str, model: Path, *options: str, cpu: int | None, enter: Enter | None = None) -> Iterator[Server]:
    """One of the baselines of this folder, by module name."""
    port = _free_port()
    argv = [sys.executable, "-m", f"bench.runtime.{module}", "--model", str(model), "--port", str(port), *options]
    with process(argv, cpu=cpu, enter=enter) as running:
        _until(running, lambda: _listens(port))
        yield Server(pid=running.pid, port=port, cpu=cpu)


@contextlib.contextmanager
def process(
    argv: Sequence[str],
    *,
    cpu: int | None,
    enter: Enter | None = None,
    pipes: bool = False,
    waits: bool = True,
) -> Iterator["subprocess.Popen[str]"]:
    """A process pinned to `cpu`; with `pipes`, its stdin and stdout are ours. Ended when the block ends."""

    def prepare() -> None:
        priority.session_first()
        if not waits:
            priority.never_wait()
        if cpu is not None:
            os.sched_setaffinity(0, {cpu})
        if enter is not None:
            enter(os.getpid())

    pipe = subprocess.PIPE if pipes else subprocess.DEVNULL
    running = subprocess.Popen(
        argv,
        cwd=ROOT,
        stdin=pipe,
        stdout=pipe,
        text=True,
        preexec_fn=prepare,  # noqa: PLW1509 - this program runs no threads
    )
    try:
        yield running
    finally:
        running.terminate()
        try:
            running.wait(10)
        except subprocess.TimeoutExpired:
            running.kill()
            running.wait()
        for stream in (running.stdin, running.stdout):
            if stream is not None:
                stream.close()


def _until(running: "subprocess.Popen[str]", serves: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _START_S
    while not serves():
        if running.poll() is not None:
            raise RuntimeError(f"{running.args!r} ended with {running.returncode} before it served")
        if time.monotonic() > deadline:
            raise RuntimeError(f"{running.args!r} does not serve after {_START_S:g} s")
        time.sleep(0.05)  # a foreign process: there is no event to wait for


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:  # noqa: S310 - http by construction
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
    except OSError:
        return False
    return True


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])
