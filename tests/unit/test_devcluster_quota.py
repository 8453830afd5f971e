"""Where a program's own CPU quota goes, from the texts that real machines show."""

from pathlib import Path, PurePosixPath

import pytest

from corefit_devcluster import quota
from corefit_devcluster.errors import DevclusterError, UnsupportedHostError

V1 = "24 1 0:22 / {cpu} rw - cgroup cgroup rw,cpu,cpuacct\n25 1 0:23 / /m rw - cgroup cgroup rw,memory\n"
V2 = "30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw,nsdelegate\n"


def test_on_v1_it_is_below_our_own_cgroup_and_in_the_cpu_controllers_tree_alone(tmp_path: Path) -> None:
    (tmp_path / "box/mine").mkdir(parents=True)
    layout = quota.locate("x", "4:memory:/elsewhere\n1:cpu,cpuacct:/box/mine\n", V1.format(cpu=tmp_path))
    assert layout.folders() == [tmp_path / "box/mine/corefit-quota-x"]


def test_in_a_container_on_v1_it_is_below_the_mount(tmp_path: Path) -> None:
    layout = quota.locate("x", "4:memory:/docker/a\n1:cpu,cpuacct:/docker/a\n", V1.format(cpu=tmp_path))
    assert layout.folders() == [tmp_path / "corefit-quota-x"]


def test_on_v2_it_is_where_controllers_can_be_handed_down() -> None:
    layout = quota.locate("x", "0::/user.slice\n", V2)
    assert layout.unified_only
    assert layout.root == PurePosixPath("/corefit-quota-x")


def test_a_machine_that_cannot_limit_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UnsupportedHostError, match="no cgroup tree"):
        quota.locate("x", "4:memory:/\n", "25 1 0:23 / /m rw - cgroup cgroup rw,memory\n")
    unwritable = quota.locate("x", "4:memory:/\n1:cpu:/\n", V1.format(cpu=tmp_path / "none"))
    monkeypatch.setattr(quota, "_layout", lambda name: unwritable)
    with pytest.raises(DevclusterError, match="cannot make a cgroup with a CPU quota"):
        quota.grant("x", 100, print)
