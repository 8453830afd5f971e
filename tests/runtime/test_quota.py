"""The CPU quota of a real cgroup, v1 or v2 as this machine has it, and a process that follows it."""

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

PERIOD_US = 100_000
UNIFIED = Path("/sys/fs/cgroup/cgroup.controllers")
V1 = Path("/sys/fs/cgroup/cpu")
PATIENCE_S = 60.0

ROW = [1.0, 2.0, 3.0, 4.0]

LOOK = """
import json
from corefit_runtime.grant.cgroups import Cgroup, current
cgroup = Cgroup.of_process()
print(json.dumps([current(cgroup).quota_millicores, cgroup.unknown]))
"""


@dataclass
class Box:
    """A cgroup of our own, in a parent of our own that hands it the cpu controller."""

    path: Path

    @property
    def unified(self) -> bool:
        return UNIFIED.exists()

    @property
    def inside(self) -> tuple[str, ...]:
        """Begins a command line that runs in the box."""
        return ("sh", "-c", f'echo $$ > {self.path}/cgroup.procs && exec "$@"', "sh")

    def enter(self, pid: int) -> None:
        (self.path / "cgroup.procs").write_text(str(pid))

    def limit(self, millicores: int | None) -> None:
        quota = None if millicores is None else millicores * PERIOD_US // 1000
        if self.unified:
            (self.path / "cpu.max").write_text(f"{quota or 'max'} {PERIOD_US}")
        else:
            (self.path / "cpu.cfs_quota_us").write_text(str(quota or -1))

    def controller(self, sign: str) -> None:
        """`+` hands the cpu controller down, `-` takes it away, as systemd does with a unit's last quota."""
        (self.path.parent / "cgroup.subtree_control").write_text(f"{sign}cpu")


@pytest.fixture
def box() -> Iterator[Box]:
    """Tests name it before `start`: it is then removed after the runtimes have ended."""
    if os.geteuid() != 0 or not sys.platform.startswith("linux"):
        pytest.skip("making a cgroup needs Linux and root")
    root = UNIFIED.parent if UNIFIED.exists() else V1
    if not (root / "cgroup.procs").exists():
        pytest.skip(f"no cgroup hierarchy with the cpu controller is mounted at {root}")
    parent = root / f"corefit-test-{os.getpid()}"
    made = Box(parent / "box")
    made.path.mkdir(parents=True)
    try:
        if made.unified:
            (root / "cgroup.subtree_control").write_text("+cpu")
            made.controller("+")
        yield made
    finally:
        for folder in (made.path, parent):
            _remove(folder)


def _remove(folder: Path) -> None:
    """Once its last process has gone, of which the kernel tells nobody."""
    until = time.monotonic() + PATIENCE_S
    while True:
        with contextlib.suppress(OSError):
            folder.rmdir()
            return
        assert time.monotonic() < until, f"{folder} is still in use"
        time.sleep(0.05)


def granted(runtime: Any) -> int:
    return int(runtime.report()["plan"]["grant_millicores"])


def test_a_quota_is_followed_whatever_came_before_it(box: Box, start: Any, negate: str) -> None:
    box.limit(500)
    runtime = start("--no-calibrate", model=negate, inside=box.inside)
    whole = 1000 * len(os.sched_getaffinity(runtime.process.pid))
    assert granted(runtime) == 500
    for millicores in (300, None, 700, None, 400):
        box.limit(millicores)
        expected = millicores or whole
        runtime.wait(lambda expected=expected: granted(runtime) == expected, f"granted {expected}m")


def test_a_quota_is_seen_at_once_though_its_controller_was_gone(box: Box, start: Any, negate: str) -> None:
    """systemd takes the controller away with the last quota of a unit, and `cpu.max` with it."""
    if not box.unified:
        pytest.skip("on cgroup v1 the files of a controller stay")
    box.controller("-")
    runtime = start("--no-calibrate", model=negate, inside=box.inside)
    whole = 1000 * len(os.sched_getaffinity(runtime.process.pid))
    assert granted(runtime) == whole
    seconds = []
    for millicores in (500, 300, 700):
        box.controller("+")
        box.limit(millicores)
        begun = time.monotonic()
        runtime.wait(lambda expected=millicores: granted(runtime) == expected, f"granted {millicores}m")
        seconds.append(round(time.monotonic() - begun, 2))
        box.controller("-")
        runtime.wait(lambda: granted(runtime) == whole, "granted all")
    print("seconds until a quota was followed:", seconds)


def test_a_quota_that_systemd_takes_away_and_sets_again_is_followed(start: Any, negate: str) -> None:
    if not Path("/run/systemd/system").exists() or os.geteuid() != 0:
        pytest.skip("setting a unit's quota needs systemd and root")
    unit = f"corefit-test-{os.getpid()}.scope"
    inside = ("/usr/bin/systemd-run", "--scope", "--quiet", f"--unit={unit}", "--property=CPUQuota=50%")
    runtime = start("--no-calibrate", model=negate, inside=inside)
    assert granted(runtime) == 500
    whole = 1000 * len(os.sched_getaffinity(runtime.process.pid))
    for quota, expected in (("", whole), ("30%", 300), ("", whole), ("70%", 700)):
        setting = f"CPUQuota={quota}"
        subprocess.run(["/usr/bin/systemctl", "set-property", "--runtime", unit, setting], check=True)
        begun = time.monotonic()
        runtime.wait(lambda expected=expected: granted(runtime) == expected, f"granted {expected}m")
        print(f"{setting} was followed after {time.monotonic() - begun:.2f} s")


def test_throttling_is_counted_and_never_falls(box: Box, start: Any, negate: str) -> None:
    box.limit(100)
    runtime = start("--no-calibrate", model=negate, inside=box.inside)  # A start takes most of a second of CPU.

    def counted() -> tuple[int, float]:
        counters = runtime.report()["counters"]
        return counters.get("throttled_periods", 0), counters.get("throttled_seconds", 0.0)

    seen = [counted()]
    assert seen[0][0] > 0
    assert seen[0][1] > 0
    if box.unified:
        box.controller("-")
        seen.append(counted())
        box.controller("+")
        box.limit(100)
        seen.append(counted())

    def throttled_more() -> bool:
        runtime.infer([ROW] * 1000)
        seen.append(counted())
        return seen[-1][0] > seen[0][0]

    runtime.wait(throttled_more, "throttled again")
    assert seen == sorted(seen), "periods fell"
    assert [s for _, s in seen] == sorted(s for _, s in seen), "seconds fell"
    print("throttled periods and seconds:", seen[0], "to", seen[-1])


def look(box: Box, *unshared: str, script: str) -> tuple[int | None, str]:
    """What a process in the box finds, in namespaces of its own in which `script` has prepared the mounts."""
    waits = ("sh", "-c", 'read go; exec "$@"', "sh")
    apart = ("unshare", "--mount", *unshared, "--propagation", "private")
    prepared = ("sh", "-ec", f'{script}\nexec "$@"', "sh")
    with subprocess.Popen(
        [*waits, *apart, *prepared, sys.executable, "-c", LOOK],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        box.enter(process.pid)
        answer, _ = process.communicate("go\n")
    assert process.returncode == 0
    quota, unknown = json.loads(answer)
    return quota, unknown


def test_a_quota_is_found_through_process_1_where_no_cgroups_are_mounted(box: Box) -> None:
    if not os.access("/proc/1/root/sys/fs/cgroup", os.R_OK):
        pytest.skip("this machine doesn't let us look at process 1")
    box.limit(500)
    assert look(box, script="umount --recursive /sys/fs/cgroup") == (500, "")


def test_a_quota_that_cannot_be_read_is_said_to_be_unknown(box: Box) -> None:
    """Process 1 is the process itself, and has no mount of cgroups either."""
    box.limit(500)
    quota, unknown = look(box, "--pid", "--fork", script="umount --recursive /sys/fs/cgroup\nmount -t proc proc /proc")
    assert quota is None
    assert "no cgroup file system is mounted" in unknown


def test_a_mount_over_the_cgroups_hides_the_quota_and_that_is_said(box: Box) -> None:
    box.limit(500)
    quota, unknown = look(
        box, "--pid", "--fork", script="mount -t tmpfs tmpfs /sys/fs/cgroup\nmount -t proc proc /proc"
    )
    assert quota is None
    assert "no mount shows its cgroup" in unknown
