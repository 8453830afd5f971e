"""The first process of a cluster's PID namespace: prepares the namespaces, starts the processes, keeps them up.

Its death, by whatever signal, makes the kernel end everything in the namespace: containers and shims included.
It knows nothing of Kubernetes: all it does is in the plan that it is given.
"""

import os
import select
import signal
import socket
import ssl
import subprocess
import sys
import time
from pathlib import Path
from typing import NoReturn
from urllib.request import urlopen

import msgspec

from corefit_devcluster.deadlines import stretched
from corefit_devcluster.processes import Plan, Process
from corefit_devcluster.root import take_namespace_root

# How often a process that waits for another's socket is looked at again; there is no event for a foreign listen().
GATE_SECONDS = 0.1
# How long such a look may take when it asks for a page.
ANSWER_SECONDS = 2.0
# A process that ends is started again after this, doubled each time up to the longest.
FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 10.0
ENDING = {signal.SIGTERM, signal.SIGINT}


class State(msgspec.Struct):
    """What is reported of one process."""

    name: str
    pid: int = 0
    starts: int = 0
    last_status: int | None = None


class Signals:
    """The signals that arrive, as bytes in a pipe that `select` waits for.

    Not `signal.sigtimedwait`: when the process is stopped (SIGSTOP) and its time runs out meanwhile, CPython 3.11
    returns a structure that nothing has filled in.
    """

    def __init__(self) -> None:
        self._arrived, writer = os.pipe()
        os.set_blocking(writer, False)
        for number in (signal.SIGCHLD, *ENDING):
            signal.signal(number, _note)
        signal.set_wakeup_fd(writer, warn_on_full_buffer=False)

    def wait(self, seconds: float | None) -> set[int]:
        """Wait for signals; None waits without limit. Return the numbers of those that came, maybe none."""
        ready, _, _ = select.select([self._arrived], [], [], seconds)
        return set(os.read(self._arrived, 4096)) if ready else set()


def _note(number: int, frame: object) -> None:
    """Do nothing: the interpreter writes the number into the pipe, but only for signals that have a handler."""


class Supervisor:
    """Runs a plan until it is told to stop."""

    def __init__(self, plan: Plan, signals: Signals) -> None:
        self._plan = plan
        self._signals = signals
        self._states = {process.name: State(process.name) for process in plan.processes}
        # Monotonic time from which each process that is not running may be started.
        self._due = dict.fromkeys(self._states, 0.0)

    def run(self) -> None:
        """Start what is due, reap what has ended, until SIGTERM or SIGINT."""
        while True:
            ending = ENDING & self._signals.wait(self._start_due())
            if ending:
                say(f"stopping on {', '.join(signal.Signals(number).name for number in sorted(ending))}")
                return
            self._reap()

    def _start_due(self) -> float | None:
        """Start every process that may be; return the seconds until the next look, None when all run."""
        waits = []
        for process in self._plan.processes:
            if self._states[process.name].pid:
                continue
            pause = self._due[process.name] - time.monotonic()
            if pause <= 0 and _open(process.after):
                self._start(process)
            else:
                waits.append(max(pause, GATE_SECONDS))
        return min(waits, default=None)

    def _start(self, process: Process) -> None:
        state = self._states[process.name]
        log = str(Path(self._plan.logs) / f"{process.name}.log")
        state.pid = os.posix_spawn(
            process.command[0],
            process.command,
            self._plan.environment,
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                (os.POSIX_SPAWN_OPEN, 1, log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644),
                (os.POSIX_SPAWN_DUP2, 1, 2),
            ],
            setsid=True,
            setsigmask=[],
        )
        state.starts += 1
        say(f"{process.name} started as process {state.pid}, start {state.starts}")
        self._report()

    def _reap(self) -> None:
        """Collect every ended child: our own processes, and the orphans that a first process inherits."""
        own = {state.pid: state for state in self._states.values() if state.pid}
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if pid in own:
                self._ended(own[pid], os.waitstatus_to_exitcode(status))

    def _ended(self, state: State, status: int) -> None:
        pause = min(FIRST_PAUSE_SECONDS * 2 ** (state.starts - 1), LONGEST_PAUSE_SECONDS)
        say(f"{state.name} ended with status {status}; starting it again in {pause:.1f} s")
        state.pid, state.last_status = 0, status
        self._due[state.name] = time.monotonic() + pause
        self._report()

    def _report(self) -> None:
        target = Path(self._plan.report)
        scratch = target.with_suffix(".new")
        scratch.write_bytes(msgspec.json.encode(list(self._states.values())))
        scratch.replace(target)


def say(line: str) -> None:
    """Write to the supervisor's log."""
    print(f"{time.strftime('%H:%M:%S')} {line}", flush=True)


def _open(gate: str) -> bool:
    """Say whether what a process waits for accepts connections."""
    kind, _, address = gate.partition(":")
    if not kind:
        return True
    if kind == "https":
        return _answers(gate)
    host, _, port = address.rpartition(":")
    family, target = (socket.AF_UNIX, address) if kind == "unix" else (socket.AF_INET, (host, int(port or 0)))
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.settimeout(GATE_SECONDS)
        try:
            probe.connect(target)
        except OSError:
            return False
    return True


def _answers(url: str) -> bool:
    """Ask for a page; whose certificate it is does not matter in a network namespace of our own."""
    trusting = ssl.create_default_context()
    trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
    try:
        with urlopen(url, timeout=stretched(ANSWER_SECONDS), context=trusting):  # noqa: S310 - https, as the plan says
            return True
    except OSError:
        return False


def _prepare(plan: Plan) -> None:
    for command in plan.setup:
        subprocess.run(command, check=True, env=plan.environment)
    for name, value in plan.sysctls.items():
        (Path("/proc/sys") / name).write_text(value)


def _wait_for_parent(log: Path) -> None:
    """Tell the parent that the namespaces exist, and wait until it has put the network's link into them.

    A parent that dies before that closes the pipe: there is nothing to live for then.
    """
    print("ready", flush=True)
    if sys.stdin.readline() != "go\n":
        sys.exit("the parent went away before the network was ready")
    handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    nowhere = os.open(os.devnull, os.O_RDONLY)
    os.dup2(handle, 1)
    os.dup2(handle, 2)
    os.dup2(nowhere, 0)


def main() -> NoReturn:
    """Read the plan named by the only argument, and run it."""
    plan = msgspec.json.decode(Path(sys.argv[1]).read_bytes(), type=Plan)
    signals = Signals()
    take_namespace_root()
    _wait_for_parent(Path(plan.logs) / "supervisor.log")
    _prepare(plan)
    Supervisor(plan, signals).run()
    sys.exit(0)


if __name__ == "__main__":
    main()
