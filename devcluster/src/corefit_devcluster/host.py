"""What the machine must offer: Linux, root and Debian's packages.

Installs what is missing where that is possible, and otherwise says what to do. Knows nothing of clusters.
"""

import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from corefit_devcluster.errors import UnsupportedHostError
from corefit_devcluster.locks import locked
from corefit_devcluster.needs import PACKAGES, SERVICES
from corefit_devcluster.progress import Reporter
from corefit_devcluster.run import run, which
from corefit_devcluster.services import not_started

ELSEWHERE = "Point KUBECONFIG at a cluster that you have (kind, k3s, minikube, ...) and go on without the devcluster."
CNI_FOLDERS = (Path("/usr/lib/cni"), Path("/opt/cni/bin"))
# Seconds that apt-get waits for another that is under way, such as the distribution's own upgrades.
APT_PATIENCE_SECONDS = 600


def require_linux_root(action: str) -> None:
    """Refuse early, and say what works instead."""
    if not sys.platform.startswith("linux"):
        raise UnsupportedHostError(f"{action} needs Linux: this is {platform.system()}.", hint=ELSEWHERE)
    if os.geteuid() != 0:
        raise UnsupportedHostError(
            f"{action} needs root: it makes namespaces, cgroups and a network of its own.",
            hint=f"Keep PATH and HOME:  sudo -E env PATH=$PATH corefit-devcluster ...\n{ELSEWHERE}",
        )


def missing_packages(wanted: Mapping[str, str]) -> list[str]:
    """List the Debian packages whose programs are not on this machine."""
    return sorted({package for name, package in wanted.items() if which(name) is None})


def program(name: str, reporter: Reporter) -> str:
    """Return the path of one of the programs in `needs`, having installed its package when it was missing."""
    if which(name) is None:
        install([PACKAGES[name]], reporter)
    found = which(name)
    if found is None:
        raise UnsupportedHostError(f"{PACKAGES[name]} is installed, but {name} is not in PATH")
    return found


def missing_cni() -> list[str]:
    """List the package of the CNI plugins when they are nowhere to be found."""
    return [] if cni_folder() else ["containernetworking-plugins"]


def cni_folder() -> Path | None:
    """Find the folder of the CNI plugins."""
    return next((folder for folder in CNI_FOLDERS if (folder / "ptp").exists()), None)


def missing_c_library() -> list[str]:
    """List the package of the C library's headers when C does not compile: Debian's gcc only recommends them."""
    if shutil.which("gcc"):
        found = subprocess.run(
            ["gcc", "-E", "-include", "errno.h", "-x", "c", os.devnull], check=False, capture_output=True
        )
        if found.returncode == 0:
            return []
    return ["libc6-dev"]


def missing_seccomp() -> list[str]:
    """List the package of libseccomp's headers when runc could not be compiled without it."""
    if shutil.which("pkg-config"):
        found = subprocess.run(["pkg-config", "--exists", "libseccomp"], check=False)
        if found.returncode == 0:
            return []
    return ["libseccomp-dev"]


def install(packages: Sequence[str], reporter: Reporter) -> None:
    """Install Debian packages, or say which ones the person has to install."""
    if not packages:
        return
    listed = " ".join(packages)
    if shutil.which("apt-get") is None:
        raise UnsupportedHostError(
            f"Missing on this machine: {listed} (names of Debian's packages).",
            hint="Install them with the distribution's package manager, then run this again.",
        )
    if os.geteuid() != 0:
        raise UnsupportedHostError(
            f"Missing on this machine: {listed}.",
            hint=f"Run:  sudo apt-get install -y --no-install-recommends {listed}",
        )
    apt = ["apt-get", "-q", "-o", f"DPkg::Lock::Timeout={APT_PATIENCE_SECONDS}"]
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    with reporter.step(f"Installing Debian packages: {listed}"), locked(Path(tempfile.gettempdir()) / "corefit-apt"):
        run([*apt, "update"], env=environment)
        with not_started([SERVICES[package] for package in packages if package in SERVICES]):
            run([*apt, "install", "-y", "--no-install-recommends", *packages], env=environment)
