"""Below an overlay, containerd's images are on a file system of their own (needs root's rights)."""

import subprocess
import sys
from pathlib import Path

import pytest

from corefit_devcluster import disk

pytestmark = pytest.mark.cluster


def prints(folder: Path, script: str) -> list[str]:
    """What a script prints in a mount namespace of its own, where `folder` is a tmpfs whatever it is here."""
    command = ["unshare", "--mount", "--propagation", "private", "bash", "-ec"]
    prepared = f"mount -t tmpfs none {folder}\n{script}"
    return subprocess.run([*command, prepared], capture_output=True, text=True, check=True).stdout.split()


def choice(data: Path) -> str:
    code = f"from pathlib import Path; from corefit_devcluster import disk; print(disk.for_images(Path('{data}')))"
    return f'{sys.executable} -c "{code}"'


def test_a_file_system_that_holds_overlays_needs_no_file(tmp_path: Path) -> None:
    assert prints(tmp_path, f"{choice(tmp_path)}; ls {tmp_path}") == ["None"]


def test_an_overlay_gets_a_file_on_which_another_one_can_be(tmp_path: Path) -> None:
    """containerd copied the whole image for each pod: 50 s instead of 2."""
    data, file = tmp_path / "root/data", tmp_path / "root/data/containerd.ext4"
    script = f"""
        cd {tmp_path}; mkdir lower upper work root
        mount -t overlay overlay -o lowerdir=lower,upperdir=upper,workdir=work root
        {choice(data)}
        mkdir {data}/images
        {" ".join(disk.mounting(file, data / "images"))}
        cd {data}/images; mkdir a b c d
        mount -t overlay overlay -o lowerdir=a,upperdir=b,workdir=c d && echo mounted
        umount d; cd /; umount {data}/images
    """
    assert prints(tmp_path, script) == [str(file), "mounted"]
    backing = [each.read_text() for each in Path("/sys/block").glob("loop*/loop/backing_file")]
    assert not any(str(tmp_path) in path for path in backing), "no loop device is left"
