"""What kind of file system a folder is on."""

from pathlib import Path


def on_overlay(folder: Path) -> bool:
    """Say whether a folder is on an overlay (in most containers), which cannot carry another one."""
    mounts = [line.split() for line in Path("/proc/self/mounts").read_text().splitlines()]
    holding = [mount for mount in mounts if folder.is_relative_to(mount[1])]
    return bool(holding) and max(holding, key=lambda mount: len(mount[1]))[2] == "overlay"
