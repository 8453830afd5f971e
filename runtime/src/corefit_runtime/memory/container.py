"""The memory that the container has, and what this process takes of it."""

import contextlib
import os
from pathlib import Path
from typing import Final

_LIMITS: Final = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))
"""Of cgroup v2 and v1, as a container sees them (Documentation/admin-guide/cgroup-v2.rst, cgroup-v1/memory.rst)."""
STATUS: Final = Path("/proc/self/status")


def memory_limit(files: tuple[Path, ...] = _LIMITS) -> int | None:
    """Bytes that the container may use; None where there is no limit, or none that can be read."""
    physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for path in files:
        with contextlib.suppress(
            OSError, ValueError
        ):  # v2 says "max" where there is none, v1 a number beyond all memory
            found = int(path.read_text())
            if found < physical:
                return found
    return None


def resident_memory(status: Path = STATUS) -> int:
    """Bytes of this process that can't be given back: without pages of files, which the kernel drops when it must."""
    fields = dict(line.split(":", 1) for line in status.read_text().splitlines() if ":" in line)
    anonymous = fields.get(
        "RssAnon", fields.get("VmRSS", "0 kB")
    )  # proc(5): before Linux 4.5, and in gVisor, no RssAnon
    return int(anonymous.split()[0]) * 1024
