"""Below a chroot, the root of the cluster's processes is the root of their mount namespace (needs root's rights)."""

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.cluster

TAKE = "from corefit_devcluster.root import take_namespace_root; take_namespace_root()"
SEEN = "nsenter --mount=/proc/self/ns/mnt cat /mnt/where"
"""What `runc exec` sees: it enters the mount namespace of a container's first process."""


def below_chroot(folder: Path, mount: str, script: str) -> "subprocess.CompletedProcess[str]":
    """Run a script below a chroot whose /mnt/where says `inside`, in a mount namespace of its own."""
    prepare = f"""
        set -e
        mount {mount} / "{folder}"
        mount -t tmpfs none "{folder}/mnt"
        echo inside > "{folder}/mnt/where"
        exec chroot "{folder}" {sys.executable} -c '''{script}'''
    """
    command = ["unshare", "--mount", "--propagation", "private", "bash", "-c", prepare]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def script(first: str) -> str:
    return f'{first}\nimport subprocess; subprocess.run("{SEEN}".split(), check=True)'


def test_who_enters_the_namespace_sees_the_chroot(tmp_path: Path) -> None:
    """Commands of `kubectl exec` saw the machine around a chroot: its resolv.conf, for example."""
    assert "inside" not in below_chroot(tmp_path, "--rbind", script("")).stdout, "the fault is there without it"
    done = below_chroot(tmp_path, "--rbind", script(TAKE))
    assert (done.stdout, done.returncode) == ("inside\n", 0), done.stderr


def test_without_a_chroot_nothing_changes() -> None:
    code = (
        f"import os; before = os.stat('/'); {TAKE}; assert os.path.samestat(before, os.stat('/')); print(os.getcwd())"
    )
    command = ["unshare", "--mount", "--propagation", "private", sys.executable, "-c", code]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "/\n"


def test_a_chroot_that_is_no_mount_is_refused_with_the_command_that_mends_it(tmp_path: Path) -> None:
    """As a plain folder: here one folder below the mounted tree, whose own root is the mount."""
    inner = f"""
        set -e
        mount --rbind / "{tmp_path}"
        exec chroot "{tmp_path}" bash -c 'mkdir -p /tmp/plain; cd /; exec {sys.executable} -c "
import os; from corefit_devcluster import root
os.makedirs(\\"/tmp/plain/proc\\", exist_ok=True)
import subprocess; subprocess.run([\\"mount\\", \\"--rbind\\", \\"/proc\\", \\"/tmp/plain/proc\\"], check=True)
os.chroot(\\"/tmp/plain\\")
try:
    root.take_namespace_root()
except Exception as error:
    print(type(error).__name__, error)
"'
    """
    command = ["unshare", "--mount", "--propagation", "private", "bash", "-c", inner]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout.startswith("StartError"), done.stderr
    assert "mount --bind" in done.stdout
