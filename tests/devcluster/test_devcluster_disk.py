"""Below an overlay, containerd's images are on a file system of their own (needs root's rights)."""

import subprocess
import sys
from pathlib import Path

import pytest

from corefit_devcluster import disk

pytestmark = pytest.mark.cluster

MADE = """
from pathlib import Path
from corefit_devcluster import disk
print(disk.for_images(Path("{data}")))
"""


def inside_overlay(folder: Path, script: str) -> str:
    """What a script prints in a mount namespace where `folder`/root is an overlay."""
    for name in ("lower", "upper", "work", "root"):
        (folder / name).mkdir()
    layers = f"lowerdir={folder}/lower,upperdir={folder}/upper,workdir={folder}/work"
    prepare = f"mount -t overlay overlay -o {layers} {folder}/root && {script}"
    command = ["unshare", "--mount", "--propagation", "private", "bash", "-ec", prepare]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_a_file_system_that_holds_overlays_needs_no_file(tmp_path: Path) -> None:
    assert disk.for_images(tmp_path) is None
    assert list(tmp_path.iterdir()) == []


def test_an_overlay_gets_a_file_on_which_another_one_can_be(tmp_path: Path) -> None:
    """containerd copied the whole image for each pod: 50 s instead of 2."""
    root, data = tmp_path / "root", tmp_path / "root/data"
    layers = "lowerdir=images/a,upperdir=images/b,workdir=images/c"
    script = f"""
        {sys.executable} -c '{MADE.format(data=data)}'
        mkdir -p {data}/images
        {" ".join(disk.mounting(data / "containerd.ext4", data / "images"))}
        cd {data}; mkdir images/a images/b images/c images/d
        mount -t overlay overlay -o {layers} images/d && echo mounted
        umount images/d images
    """
    assert inside_overlay(tmp_path, script).split() == [str(data / "containerd.ext4"), "mounted"]
    assert root.exists()
    backing = [file.read_text() for file in Path("/sys/block").glob("loop*/loop/backing_file")]
    assert not any(str(tmp_path) in path for path in backing), "no loop device is left"
