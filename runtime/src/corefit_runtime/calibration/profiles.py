"""The cache of calibrations, beside the models: one file for a model, a kind of CPU and a number of cores."""

import hashlib
import logging
import os
from pathlib import Path
from typing import Final

import msgspec

from corefit_runtime import __version__
from corefit_runtime.calibration import row_independence
from corefit_runtime.calibration.calibrate import Findings

log: Final = logging.getLogger(__name__)


def load(folder: Path, sha256: str, cores: int) -> Findings | None:
    """What was measured before, None when nothing was or it can't be read."""
    try:
        return msgspec.json.decode(_path(folder, sha256, cores).read_bytes(), type=Findings)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        return None


def save(folder: Path, sha256: str, cores: int, findings: Findings) -> None:
    """Keeps the findings; a folder that can't be written costs a calibration at the next start, no more."""
    path = _path(folder, sha256, cores)
    part = path.with_suffix(f".{os.getpid()}.part")
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        part.write_bytes(msgspec.json.encode(findings))
        part.replace(path)
    except OSError as error:
        log.info("what was measured can't be saved, so the next start measures it again: %s", error)


def cpu_model(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """What the kernel calls this kind of CPU: on arm64 the part numbers stand for the name."""
    try:
        lines = cpuinfo.read_text().splitlines()
    except OSError:
        return os.uname().machine
    # The first core's: pods run on nodes whose cores are alike.
    told = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in reversed(lines))}
    names = [told[key] for key in ("model name", "CPU implementer", "CPU part") if key in told]
    return " ".join(names) or os.uname().machine


def _path(folder: Path, sha256: str, cores: int) -> Path:
    key = hashlib.sha256(
        f"{sha256} {cpu_model()} {cores} {__version__} {row_independence.VERSION}".encode()
    ).hexdigest()[:16]
    return folder / f"{key}.profile.json"
