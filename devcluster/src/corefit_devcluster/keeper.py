"""The processes that hold a cluster's namespaces: started, found again and ended from outside.

They are recognised by their command line, which names the cluster's plan: no file with a process id can go stale.
"""

import os
import select
import signal
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from corefit_devcluster.deadlines import stretched
from corefit_devcluster.errors import DevclusterError, StartError
from corefit_devcluster.paths import ClusterPaths
from corefit_devcluster.processes import supervisor_arguments, supervisor_command
from corefit_devcluster.run import tail

END_SECONDS = 120.0
BEGIN_SECONDS = 120.0


@dataclass(frozen=True)
class Keeper:
    """A running cluster as seen from the host.

    Attributes:
        supervisor: the process id of the namespaces' first process, as the host numbers it.
        outer: the process of `unshare` that is its parent; 0 when that is gone.
    """

    supervisor: int
    outer: int


class Birth:
    """A supervisor that waits in its new namespaces for the network to be put there."""

    def __init__(self, paths: ClusterPaths) -> None:
        self._paths = paths
        self._process: subprocess.Popen[str] | None = None

    def begin(self) -> int:
        """Start it and return the process id that has the new namespaces."""
        log = self._paths.logs / "supervisor.log"
        with log.open("a") as errors:
            # A session of its own: neither a closed terminal nor its ^C is meant for the cluster.
            self._process = subprocess.Popen(
                supervisor_command(self._paths.plan),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                start_new_session=True,
                cwd="/",
            )
        out = self._process.stdout
        patience = stretched(BEGIN_SECONDS)
        ready = out is not None and bool(select.select([out], [], [], patience)[0]) and out.readline() == "ready\n"
        keeper = find(self._paths)
        if not ready or keeper is None:
            raise StartError(f"the supervisor did not start: {log}\n{tail(log.read_text())}")
        return keeper.supervisor

    def release(self) -> None:
        """Let it go on, now that the network is there."""
        if self._process and self._process.stdin and self._process.stdout:
            self._process.stdin.write("go\n")
            self._process.stdin.close()
            self._process.stdout.close()
            # It outlives us on purpose: without a status the destructor does not complain that it still runs.
            self._process.returncode = 0


def find(paths: ClusterPaths) -> Keeper | None:
    """Find a cluster's processes by their command line, and the supervisor by being its namespace's first as well.

    A child that the supervisor is about to turn into kubelet or mount bears its command line until it does.
    """
    own = supervisor_arguments(paths.plan)[1:]  # whichever interpreter runs it
    supervisor = outer = 0
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        arguments = _command_line(folder)
        if arguments[1:] == own and _is_first(folder):
            supervisor = int(folder.name)
        elif arguments[0] == "unshare" and arguments[-len(own) :] == own:
            outer = int(folder.name)
    return Keeper(supervisor, outer) if supervisor else None


def _command_line(folder: Path) -> list[str]:
    try:
        return (folder / "cmdline").read_text().rstrip("\0").split("\0")
    except (OSError, UnicodeDecodeError):
        return [""]


def _is_first(folder: Path) -> bool:
    """Say whether a process is the first of a PID namespace below ours: its last number is 1, and not its only one."""
    try:
        status = (folder / "status").read_text()
    except OSError:
        return False
    numbers = next((line.split()[1:] for line in status.splitlines() if line.startswith("NSpid:")), [])
    return len(numbers) > 1 and numbers[-1] == "1"


def end(paths: ClusterPaths) -> bool:
    """Kill a cluster's first process, and wait until the kernel has ended all others; say whether there was one."""
    keeper = find(paths)
    if keeper is None:
        return False
    watched = [descriptor for pid in (keeper.supervisor, keeper.outer) if (descriptor := _watch(pid)) is not None]
    try:
        with suppress(ProcessLookupError):
            os.kill(keeper.supervisor, signal.SIGKILL)
        _wait(watched)
    finally:
        for descriptor in watched:
            os.close(descriptor)
    return True


def _watch(pid: int) -> int | None:
    if not pid:
        return None
    try:
        return os.pidfd_open(pid)
    except ProcessLookupError:
        return None


def _wait(descriptors: Sequence[int]) -> None:
    patience = stretched(END_SECONDS)
    deadline = time.monotonic() + patience
    for descriptor in descriptors:
        ended, _, _ = select.select([descriptor], [], [], max(0.0, deadline - time.monotonic()))
        if not ended:
            raise DevclusterError(f"the cluster's processes did not end within {patience:.0f} s of SIGKILL")


def enter(keeper: Keeper, *, network: bool = True) -> list[str]:
    """Begin a command line that runs inside of the cluster's namespaces."""
    nets = ["--net"] if network else []
    return ["nsenter", f"--target={keeper.supervisor}", "--mount", "--pid", *nets, "--"]
