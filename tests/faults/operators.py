"""Operators as processes of their own, started from one process that has done the imports: a start takes 0.1 s of CPU.

A nursery forks; each operator is a child of it, is killed by signal like any process, and is started again by whoever
stands for the kubelet.
"""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Self

from corefit_core.election import DURATION_S, RETRY_S
from corefit_operator.kube.lease import JITTER

PATIENCE_S = 600.0
"""Seconds that a process gets to start or to end, on a machine whose CPU others may have."""
POLICY = {
    "application": True,
    "imagePrefixes": ["*"],
    "volumeKinds": ["*"],
    "secrets": ["*"],
    "envPrefixes": ["*"],
    "serviceAccounts": ["*"],
    "priorityClasses": ["*"],
}
RUNTIME = (
    "--runtime-image",
    "corefit.local/runtime:0.1.0",
    "--balancer-image",
    "haproxy",
    "--policy",
    json.dumps(POLICY),
)
"""What operators outside the cluster are started with: the image that the devcluster loads, and everything allowed."""
NURSERY = """
import gc, json, os, sys, threading
import corefit_operator.main, corefit_operator.process.program
gc.freeze()  # or each operator's first collection copies all the memory that it shares with this one
def say(**what):
    os.write(1, json.dumps(what).encode() + b"\\n")  # in one piece: several threads say something
def reap(pid):
    status = os.waitpid(pid, 0)[1]
    say(pid=pid, code=os.waitstatus_to_exitcode(status))
for line in sys.stdin:
    order = json.loads(line)
    pid = os.fork()
    if pid == 0:
        log = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(log, 1); os.dup2(log, 2); os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os._exit(corefit_operator.main.main(order["arguments"]))
    say(started=pid, order=order["order"])
    threading.Thread(target=reap, args=(pid,), daemon=True).start()
os.killpg(0, 9)  # whoever started operators here is gone, however it went
"""


class Nursery:
    """Starts operators."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", NURSERY],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self._changed = threading.Condition()
        self._started: dict[int, int] = {}
        self._codes: dict[int, int] = {}
        self._orders = 0
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def start(self, arguments: list[str], log: Path) -> int:
        """Starts one; its process id."""
        with self._changed:
            self._orders += 1
            order = self._orders
            assert self._process.stdin is not None
            self._process.stdin.write(json.dumps({"order": order, "arguments": arguments, "log": str(log)}) + "\n")
            self._process.stdin.flush()
            assert self._changed.wait_for(lambda: order in self._started, PATIENCE_S)
            return self._started[order]

    def code(self, pid: int, timeout_s: float) -> int | None:
        """The exit status of one; None when it still runs after so many seconds."""
        with self._changed:
            self._changed.wait_for(lambda: pid in self._codes, timeout_s)
            return self._codes.get(pid)

    def close(self) -> None:
        """Ends those that still run, and itself."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(PATIENCE_S)
        self._reader.join(PATIENCE_S)
        assert self._process.stdout is not None
        self._process.stdout.close()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            said: dict[str, Any] = json.loads(line)
            with self._changed:
                if "started" in said:
                    self._codes.pop(said["started"], None)  # of an earlier process that had the number
                    self._started[said["order"]] = said["started"]
                else:
                    self._codes[said["pid"]] = said["code"]
                self._changed.notify_all()


def failover_s(change_s: float) -> float:
    """What a fail-over may take, where a change takes so long while nobody dies.

    20 s by the requirements. The Lease has most of them, the rest is for some requests: where the machine is short of
    CPU these take as long as all others do.
    """
    return max(20.0, DURATION_S + RETRY_S * (1 + JITTER) + 5 * change_s)


class Operator:
    """One operator that is started again whenever it ends, as the kubelet does, until it is stopped."""

    def __init__(self, nursery: Nursery, arguments: list[str], log: Path, *, again: bool = True) -> None:
        self._nursery = nursery
        self._arguments = arguments
        self.log = log
        self._again = again
        self._over, self._wanted = threading.Event(), threading.Event()
        self._wanted.set()
        self.started: list[float] = []
        """When, by the wall clock."""
        self.codes: list[int] = []
        self.pid = 0
        self._keeper = threading.Thread(target=self._keep, daemon=True)

    def __enter__(self) -> Self:
        self._start()
        self._keeper.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._wanted.set()
        if self._nursery.code(self.pid, 0) is None:
            self.signal(signal.SIGCONT)
            self.signal(signal.SIGKILL)
        self._keeper.join(PATIENCE_S)

    def signal(self, number: signal.Signals) -> None:
        """Sends a signal, if it still runs."""
        if self._nursery.code(self.pid, 0) is None:
            with suppress(ProcessLookupError):  # it has ended, and the nursery has yet to say so
                os.kill(self.pid, number)

    def kill(self) -> None:
        """Kills it, at once."""
        self.signal(signal.SIGKILL)

    def replace(self, *options: str) -> None:
        """Ends it, as an upgrade does; what takes its place has these options too."""
        self._arguments = [*self._arguments, *options]
        self.signal(signal.SIGTERM)

    @contextmanager
    def away(self) -> Iterator[None]:
        """It is killed, and not started again before the block ends."""
        self._wanted.clear()
        self.kill()
        yield
        self._wanted.set()

    def wait(self) -> int | None:
        """Its exit status, once it has ended."""
        return self._nursery.code(self.pid, PATIENCE_S)

    def _start(self) -> None:
        self.pid = self._nursery.start(self._arguments, self.log)
        self.started.append(time.time())

    def _keep(self) -> None:
        while True:
            code = self._nursery.code(self.pid, 3600)
            if code is None:
                continue
            self.codes.append(code)
            if self._over.is_set() or not self._again:
                return
            time.sleep(0.1 if len(self.codes) < 5 else 1.0)  # the kubelet waits too, and longer
            self._wanted.wait()
            if self._over.is_set():
                return
            self._start()
