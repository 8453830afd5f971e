"""Keeps services that Debian packages bring from running: the cluster and the tests want their programs alone.

Debian starts a service when its package is installed, and at each start of the machine from then on. Knows nothing of
clusters, nor which packages there are.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from corefit_devcluster.run import run

POLICY = Path("/usr/sbin/policy-rc.d")
"""Debian asks it before it starts a service (invoke-rc.d(8)); 101 is no."""
_SCRIPT = """#!/bin/sh
# Made by corefit-devcluster for one installation. Without its process (the path below) it forbids nothing.
[ -e {process} ] || exit 0
case "$1" in {names}) exit 101 ;; esac
exit 0
"""


@contextmanager
def not_started(services: Sequence[str]) -> Iterator[None]:
    """In the block, packages that are installed start none of these services, and from then on none starts by itself.

    A policy that the machine has stays as it is, and decides.
    """
    made = bool(services) and _made(services)
    try:
        yield
    finally:
        if made:
            POLICY.unlink()
    for service in services:
        run(["update-rc.d", service, "disable"])


def _made(services: Sequence[str]) -> bool:
    """Whether there was no policy, nor one that a killed process has left, so that there is this one now."""
    if POLICY.exists() and "corefit-devcluster" not in POLICY.read_text(errors="replace"):
        return False
    names = "|".join(f"{service}|{service}.service" for service in services)
    POLICY.write_text(_SCRIPT.format(process=f"/proc/{os.getpid()}", names=names))
    POLICY.chmod(0o755)
    return True
