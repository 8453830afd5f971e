from collections.abc import Callable
from pathlib import Path, PurePosixPath

import pytest

from corefit_runtime import grant
from corefit_runtime.grant import Cgroup

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
    return Cgroup(grant.parse_hierarchies(cgroup, mounts), reader(files))


@pytest.mark.parametrize(
    ("text", "millicores"),
    [("max 100000\n", None), ("150000 100000\n", 1500), ("25000 50000", 500), ("100 100000", 1), ("50000", 500)],
)
def test_cpu_max(text: str, millicores: int | None) -> None:
    assert grant.parse_cpu_max(text) == millicores


@pytest.mark.parametrize(("quota", "millicores"), [("-1\n", None), ("0", None), ("250000\n", 2500)])
def test_cfs_quota(quota: str, millicores: int | None) -> None:
    assert grant.parse_cfs(quota, "100000\n") == millicores


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


def test_files_that_stay_open_are_read_anew_and_those_that_come_later_are_found(tmp_path: Path) -> None:
    path = tmp_path / "cpu.max"
    read = grant.KeptFiles()
    for _ in range(2):
        with pytest.raises(FileNotFoundError):
            read(str(path))
    path.write_text("max 100000")
    for _ in range(grant.LOOKS_MISSING - 1):
        with pytest.raises(FileNotFoundError):
            read(str(path))
    assert read(str(path)) == "max 100000"
    path.write_text("150000 100000")
    assert read(str(path)) == "150000 100000"
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
    v2 = grant.parse_throttling("usage_usec 5\nnr_periods 10\nnr_throttled 4\nthrottled_usec 2500000\n")
    v1 = grant.parse_throttling("nr_periods 10\nnr_throttled 4\nthrottled_time 2500000000\n")
    assert v1 == v2 == grant.Throttling(periods=4, seconds=2.5)


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
    assert found == grant.Throttling(periods=7, seconds=3.0)


def test_the_mount_point_may_have_a_space() -> None:
    [found] = grant.parse_hierarchies("0::/\n", "30 24 0:26 / /my\\040cgroups rw - cgroup2 none rw\n")
    assert found.mount == PurePosixPath("/my cgroups")


def test_what_the_user_asks_for_never_widens_the_grant() -> None:
    files = {"/sys/fs/cgroup/kubepods.slice/pod1/c1/cpu.max": "100000 100000"}
    limited = of(V2_CGROUP, V2_MOUNTS, files)
    assert grant.current(limited, 64_000).quota_millicores == 1000
    assert grant.current(limited, 500).quota_millicores == 500
