"""Images into a cluster's containerd. The only module that talks to it."""

import socket
import subprocess
import time
from pathlib import Path

from corefit_devcluster.deadlines import stretched
from corefit_devcluster.errors import DevclusterError
from corefit_devcluster.keeper import enter
from corefit_devcluster.paths import ClusterPaths
from corefit_devcluster.ready import failure, namespaces
from corefit_devcluster.run import tail
from corefit_devcluster.settings import CONTAINERD_SOCKET

LISTEN_SECONDS = 60.0
LOOK_AGAIN_SECONDS = 0.1


def import_archive(paths: ClusterPaths, archive: Path) -> str:
    """Import an OCI or Docker archive for the kubelet; return what was said of it."""
    keeper = namespaces(paths)
    _wait_for_containerd(paths)
    # The archive goes in by standard input: its path may be hidden in the cluster's mount namespace.
    command = [*enter(keeper), str(paths.bin / "ctr"), "--address", CONTAINERD_SOCKET, "-n", "k8s.io"]
    with archive.open("rb") as content:
        done = subprocess.run(
            [*command, "images", "import", "--local", "--no-unpack=false", "-"],
            stdin=content,
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode != 0:
        raise DevclusterError(f"containerd did not take {archive}:\n{tail(done.stderr)}")
    return done.stdout.strip()


def _wait_for_containerd(paths: ClusterPaths) -> None:
    """Wait for its socket, which only exists inside of the cluster's mount namespace."""
    deadline = time.monotonic() + stretched(LISTEN_SECONDS)
    inside = Path(f"/proc/{namespaces(paths).supervisor}/root{CONTAINERD_SOCKET}")
    while not _listens(inside):
        if time.monotonic() > deadline:
            raise failure(paths, f"containerd did not listen within {stretched(LISTEN_SECONDS):.0f} s", "containerd")
        namespaces(paths)
        time.sleep(LOOK_AGAIN_SECONDS)


def _listens(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(path))
        except OSError:
            return False
    return True
