"""The processes of pods, and their end by SIGKILL: what the kernel does where memory is out, or a node fails."""

import os
import select
import signal
from pathlib import Path
from typing import Any

import pytest
from e2e.driving import PATIENCE_S


def process(uid: str, program: str) -> int:
    """The process of a pod that runs this program: the kernel's view of a pod's processes is that of the host."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            of_pod = f"pod{uid}" in (folder / "cgroup").read_text()
            of_program = program.encode() in (folder / "cmdline").read_bytes()
        except OSError:
            continue  # it has ended meanwhile
        if of_pod and of_program:
            return int(folder.name)
    pytest.skip("the pods' processes are not on this machine")


def kill(pid: int) -> None:
    """SIGKILL, and until nothing is left of it: a process without CPU takes its time to end as well."""
    ending = os.pidfd_open(pid)
    os.kill(pid, signal.SIGKILL)
    try:
        assert select.select([ending], [], [], PATIENCE_S)[0]
    finally:
        os.close(ending)


def restarts(kube: Any, selector: str) -> int:
    """How often the kubelet has started containers of these pods again."""
    items = kube.get("pods", "-l", selector)["items"]
    return sum(c["restartCount"] for p in items for c in p["status"].get("containerStatuses", []))
