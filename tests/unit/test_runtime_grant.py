import errno
import os
from collections.abc import Callable
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corefit_runtime.grant import cgroups
from corefit_runtime.grant.cgroups import Cgroup

V2_CGROUP = "0::/kubepods.slice/pod1/c1\n"
V2_MOUNTS = "30 24 0:26 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n"
V1_CGROUP = "5:memory:/kubepods/pod1/c1\n3:cpu,cpuacct:/kubepods/pod1/c1\n1:name=systemd:/x\n"
V1_MOUNTS = (
    "31 30 0:27 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
    "32 30 0:28 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"
)
# As a container sees it on v1: the mount shows its own cgroup only.
V1_CONTAINER_MOUNTS = "32 30 0:28 /kubepods/pod1/c1 /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n"


def reader(files: dict[str, str]) -> Callable[[str], str]:
    def read(path: str) -> str:
        try:
            return files[path]
        except KeyError:
            raise FileNotFoundError(path) from None

    return read


def of(cgroup: str, mounts: str, files: dict[str, str]) -> Cgroup:
    return Cgroup(cgroups.parse_hierarchies(cgroup, mounts), reader(files))


@pytest.mark.parametrize(
    ("text", "millicores"),
    [("max 100000\n", None), ("150000 100000\n", 1500), ("25000 50000", 500), ("100 100000", 1), ("50000", 500)],
)
def test_cpu_max(text: str, millicores: int | None) -> None:
    assert cgroups.parse_cpu_max(text) == millicores


@pytest.mark.parametrize(("quota", "millicores"), [("-1\n", None), ("0", None), ("250000\n", 2500)])
def test_cfs_quota(quota: str, millicores: int | None) -> None:
    assert cgroups.parse_cfs(quota, "100000\n") == millicores


def test_the_smallest_of_nested_v2_limits_wins() -> None:
    folder = "/sys/fs/cgroup/kubepods.slice"
    files = {f"{folder}/pod1/c1/cpu.max": "max 100000", f"{folder}/pod1/cpu.max": "200000 100000"}
    assert of(V2_CGROUP, V2_MOUNTS, files).quota_millicores() == 2000
    files[f"{folder}/cpu.max"] = "150000 100000"
    assert of(V2_CGROUP, V2_MOUNTS, files).quota_millicores() == 1500


def test_v1_on_the_host_and_in_a_container() -> None:
    host = "/sys/fs/cgroup/cpu,cpuacct/kubepods/pod1/c1"
    files = {f"{host}/cpu.cfs_quota_us": "50000", f"{host}/cpu.cfs_period_us": "100000"}
    assert of(V1_CGROUP, V1_MOUNTS, files).quota_millicores() == 500
    files = {"/sys/fs/cgroup/cpu/cpu.cfs_quota_us": "70000", "/sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000"}
    assert of(V1_CGROUP, V1_CONTAINER_MOUNTS, files).quota_millicores() == 700


def test_files_that_stay_open_are_read_anew_and_those_that_come_later_are_found_at_once(tmp_path: Path) -> None:
    path = tmp_path / "cpu.max"
    read = cgroups.KeptFiles()
    for _ in range(2):
        with pytest.raises(FileNotFoundError):
            read(str(path))
    path.write_text("max 100000")
    assert read(str(path)) == "max 100000"
    path.write_text("150000 100000")
    assert read(str(path)) == "150000 100000"
    read.close()


def test_a_file_whose_controller_went_and_came_back_is_opened_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel answers ENODEV on the old descriptor; the new quota must not be missed for even one look."""
    path = tmp_path / "cpu.max"
    path.write_text("150000 100000")
    read = cgroups.KeptFiles()
    read(str(path))
    pread, stale = os.pread, set(read._descriptors.values())

    def stale_once(descriptor: int, size: int, offset: int) -> bytes:
        if descriptor in stale:
            stale.clear()
            raise OSError(errno.ENODEV, "No such device")
        return pread(descriptor, size, offset)

    monkeypatch.setattr(os, "pread", stale_once)
    path.write_text("50000 100000")
    assert read(str(path)) == "50000 100000"
    read.close()


def test_a_namespaced_view_above_the_mount_falls_back_to_the_mount() -> None:
    mounts = "30 24 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"
    files = {"/sys/fs/cgroup/cpu.max": "100000 100000"}
    assert of("0::/../../other\n", mounts, files).quota_millicores() == 1000


def test_without_limits_there_is_no_quota() -> None:
    assert of(V2_CGROUP, V2_MOUNTS, {}).quota_millicores() is None
    assert of("", "", {}).quota_millicores() is None
    assert Cgroup.of_process(Path("/nowhere")).quota_millicores() is None


def test_a_broken_file_is_as_no_limit() -> None:
    files = {"/sys/fs/cgroup/kubepods.slice/pod1/c1/cpu.max": "rubbish"}
    assert of(V2_CGROUP, V2_MOUNTS, files).quota_millicores() is None


def test_throttling_of_both_versions() -> None:
    v2 = cgroups.parse_throttling("usage_usec 5\nnr_periods 10\nnr_throttled 4\nthrottled_usec 2500000\n")
    v1 = cgroups.parse_throttling("nr_periods 10\nnr_throttled 4\nthrottled_time 2500000000\n")
    assert v1 == v2 == cgroups.Throttling(periods=4, seconds=2.5, counted=True)


OWN_STAT = "/sys/fs/cgroup/kubepods.slice/pod1/c1/cpu.stat"
PARENTS_STAT = "/sys/fs/cgroup/kubepods.slice/pod1/cpu.stat"
NOT_COUNTED = "usage_usec 5\nuser_usec 1\nsystem_usec 4\n"


def stat(periods: int, microseconds: int) -> str:
    return f"usage_usec 5\nnr_periods 99\nnr_throttled {periods}\nthrottled_usec {microseconds}\n"


def test_throttling_is_never_that_of_a_parent() -> None:
    """The siblings' throttling is in it: a pod's other containers, or all of a machine's services."""
    files = {OWN_STAT: NOT_COUNTED, PARENTS_STAT: stat(40, 9_000_000)}
    limited = of(V2_CGROUP, V2_MOUNTS, files)
    assert limited.throttling() == cgroups.Throttling()
    del files[OWN_STAT]
    assert limited.throttling() == cgroups.Throttling()


def test_throttling_is_not_read_where_only_other_cgroups_are_mounted() -> None:
    mounts = "30 24 0:26 /other /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"
    assert not of(V2_CGROUP, mounts, {"/sys/fs/cgroup/cpu.stat": stat(40, 9)}).throttling().counted


def test_throttling_stays_while_the_controller_is_gone_and_goes_on_when_it_is_back() -> None:
    files = {OWN_STAT: stat(4, 2_000_000), PARENTS_STAT: stat(40, 9_000_000)}
    limited = of(V2_CGROUP, V2_MOUNTS, files)
    seen = [limited.throttling()]
    for text in (NOT_COUNTED, stat(5, 2_500_000), stat(6, 2_600_000), stat(1, 100_000), stat(1, 100_000)):
        files[OWN_STAT] = text
        seen.append(limited.throttling())
    # The last two: the controller went and came back between two looks, and has counted less than before.
    assert [t.periods for t in seen] == [4, 4, 9, 10, 11, 11]
    assert [t.seconds for t in seen] == pytest.approx([2.0, 2.0, 4.5, 4.6, 4.7, 4.7])
    assert all(t.counted for t in seen)


def test_throttling_that_cannot_be_read_for_once_is_not_counted_twice() -> None:
    files = {OWN_STAT: stat(4, 2_000_000)}
    limited = of(V2_CGROUP, V2_MOUNTS, files)
    limited.throttling()
    del files[OWN_STAT]
    assert limited.throttling().periods == 4
    files[OWN_STAT] = stat(5, 2_000_000)
    assert limited.throttling().periods == 5


@given(st.lists(st.one_of(st.none(), st.tuples(st.integers(0, 100), st.integers(0, 10**8))), max_size=30))
def test_throttling_never_falls(kernel: list[tuple[int, int] | None]) -> None:
    files: dict[str, str] = {}
    limited = of(V2_CGROUP, V2_MOUNTS, files)
    before = limited.throttling()
    for counted in kernel:
        files[OWN_STAT] = NOT_COUNTED if counted is None else stat(*counted)
        now = limited.throttling()
        assert now.periods >= before.periods
        assert now.seconds >= before.seconds
        before = now


def test_throttling_on_a_hybrid_system_is_that_of_the_hierarchy_with_the_cpu_controller() -> None:
    mounts = (
        "30 25 0:26 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n"
        "31 25 0:27 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu,cpuacct\n"
    )
    files = {
        "/sys/fs/cgroup/unified/k/cpu.stat": "usage_usec 5\nuser_usec 1\nsystem_usec 4\n",
        "/sys/fs/cgroup/cpu/k/cpu.stat": "nr_periods 10\nnr_throttled 7\nthrottled_time 3000000000\n",
    }
    found = of("4:cpu,cpuacct:/k\n0::/k\n", mounts, files).throttling()
    assert found == cgroups.Throttling(periods=7, seconds=3.0, counted=True)


def test_the_mount_point_may_have_a_space() -> None:
    [found] = cgroups.parse_hierarchies("0::/\n", "30 24 0:26 / /my\\040cg\\134roups rw - cgroup2 none rw\n")
    assert found.mount == PurePosixPath("/my cg\\roups")


def test_a_mount_of_another_cgroup_does_not_limit_where_our_own_is_mounted_too() -> None:
    mounts = V2_MOUNTS + "31 24 0:26 /other.slice /srv/other rw - cgroup2 cgroup2 rw\n"
    assert of(V2_CGROUP, mounts, {"/srv/other/cpu.max": "10000 100000"}).quota_millicores() is None


class Machine:
    """A made-up /proc of a process, and the cgroup file systems that its mounts lead to."""

    def __init__(self, folder: Path, cgroup: str = "0::/box/c1\n") -> None:
        self.proc, self.tree = folder / "proc", folder / "tree"
        for process in ("self", "1"):
            (self.proc / process).mkdir(parents=True)
        (self.proc / "self" / "cgroup").write_text(cgroup)
        (self.proc / "self" / "mountinfo").write_text("")

    def mount(self, process: str, *, version: int = 2, shown: str = "/") -> Path:
        """The cgroup file system at /tree, as this process sees it; returns the folder of the cgroup."""
        kind, options = {1: ("cgroup", "rw,cpu"), 2: ("cgroup2", "rw")}[version]
        point = self.tree if process == "self" else Path("/tree")
        (self.proc / process / "mountinfo").write_text(f"30 24 0:26 {shown} {point} rw - {kind} x {options}\n")
        reached = self.tree if process == "self" else self.proc / process / "root" / "tree"
        own = reached / "box" / "c1"
        own.mkdir(parents=True)
        (own / {1: "cpu.shares", 2: "cgroup.controllers"}[version]).write_text("")
        return own

    def cgroup(self) -> Cgroup:
        return Cgroup.of_process(self.proc)


def test_where_the_own_cgroup_is_mounted_all_is_known(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    own = machine.mount("self")
    assert (machine.cgroup().quota_millicores(), machine.cgroup().unknown) == (None, "")
    (own / "cpu.max").write_text("50000 100000")
    assert (machine.cgroup().quota_millicores(), machine.cgroup().unknown) == (500, "")


def test_without_a_mount_of_its_own_the_quota_is_read_through_process_1(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    (machine.mount("1") / "cpu.max").write_text("50000 100000")
    assert (machine.cgroup().quota_millicores(), machine.cgroup().unknown) == (500, "")


def test_v1_is_read_through_process_1_as_well(tmp_path: Path) -> None:
    machine = Machine(tmp_path, "3:cpu:/box/c1\n0::/\n")
    own = machine.mount("1", version=1)
    (own / "cpu.cfs_quota_us").write_text("50000")
    (own / "cpu.cfs_period_us").write_text("100000")
    assert (machine.cgroup().quota_millicores(), machine.cgroup().unknown) == (500, "")


def test_a_quota_that_cannot_be_known_is_named(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    unknown = machine.cgroup().unknown
    assert "no cgroup file system is mounted" in unknown
    assert "--cpus" in unknown
    assert "\n" not in unknown


def test_a_mount_that_hides_the_cgroups_leaves_the_quota_unknown(tmp_path: Path) -> None:
    """A tmpfs over /sys/fs/cgroup: mountinfo still lists what is below it."""
    machine = Machine(tmp_path)
    own = machine.mount("self")
    (own / "cgroup.controllers").unlink()
    assert "no mount shows its cgroup /box/c1" in machine.cgroup().unknown


def test_a_mount_of_other_cgroups_leaves_the_quota_unknown(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    machine.mount("self", shown="/elsewhere")
    assert "no mount shows its cgroup /box/c1" in machine.cgroup().unknown


def test_v2_alone_says_nothing_where_v1_has_the_cpu_controller(tmp_path: Path) -> None:
    machine = Machine(tmp_path, "3:cpu:/box/c1\n0::/box/c1\n")
    machine.mount("self")
    assert machine.cgroup().unknown


@pytest.mark.parametrize(("inode", "known"), [(cgroups.FIRST_NAMESPACE, True), (4026532000, False)])
def test_the_root_of_the_machine_has_no_quota_but_that_of_a_namespace_may(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, inode: int, known: bool
) -> None:
    machine = Machine(tmp_path, "0::/\n")
    monkeypatch.setattr(cgroups, "_in_first_namespace", lambda _proc: inode == cgroups.FIRST_NAMESPACE)
    assert (machine.cgroup().unknown == "") == known


def test_a_kernel_without_cgroups_limits_nothing(tmp_path: Path) -> None:
    assert Machine(tmp_path, "1:name=systemd:/x\n").cgroup().unknown == ""


def test_without_proc_nothing_is_known() -> None:
    assert "/nowhere/self/cgroup" in Cgroup.of_process(Path("/nowhere")).unknown


def test_what_the_user_asks_for_never_widens_the_grant() -> None:
    files = {"/sys/fs/cgroup/kubepods.slice/pod1/c1/cpu.max": "100000 100000"}
    limited = of(V2_CGROUP, V2_MOUNTS, files)
    assert cgroups.current(limited, 64_000).quota_millicores == 1000
    assert cgroups.current(limited, 500).quota_millicores == 500
