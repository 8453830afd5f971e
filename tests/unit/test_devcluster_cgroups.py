"""Where the pods' cgroups go, from the texts that real machines show."""

import errno
import os
from pathlib import Path, PurePosixPath

import pytest

from corefit_devcluster import cgroups
from corefit_devcluster.cgroups import locate, make, remove
from corefit_devcluster.errors import UnsupportedHostError

V1_MOUNTS = """\
24 1 0:22 / /sys/fs/cgroup/cpu rw,relatime shared:1 - cgroup cgroup rw,cpu
25 1 0:23 / /sys/fs/cgroup/memory rw,relatime shared:2 - cgroup cgroup rw,memory
26 1 0:24 / /sys/fs/cgroup/systemd rw,relatime shared:3 - cgroup systemd rw,name=systemd
27 1 0:25 / /sys/fs/cgroup/unified rw,relatime shared:4 - cgroup2 cgroup2 rw
28 1 0:26 / / rw,relatime - ext4 /dev/vda rw
"""
V1_CONTAINER_MOUNTS = """\
31 1 0:22 /docker/abc /sys/fs/cgroup/cpu,cpuacct ro,relatime - cgroup cgroup rw,cpu,cpuacct
32 1 0:23 /docker/abc /sys/fs/cgroup/memory ro,relatime - cgroup cgroup rw,memory
"""
V2_MOUNTS = "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"


def test_v1_stays_below_the_memory_controllers_cgroup() -> None:
    own = "4:memory:/sandbox/b0\n3:cpuset:/\n1:cpu:/\n0::/\n"
    layout = locate("dev", own, V1_MOUNTS)
    assert layout.root == PurePosixPath("/sandbox/b0/corefit-dev")
    assert not layout.unified_only
    assert layout.folders() == [
        Path(f"/sys/fs/cgroup/{tree}/sandbox/b0/corefit-dev") for tree in ("cpu", "memory", "systemd", "unified")
    ]


@pytest.mark.parametrize("shown", ["/docker/abc", "/../elsewhere", "/"])
def test_v1_in_a_container_starts_at_the_mount(shown: str) -> None:
    layout = locate("dev", f"4:memory:{shown}\n1:cpu,cpuacct:{shown}\n", V1_CONTAINER_MOUNTS)
    assert layout.root == PurePosixPath("/corefit-dev")
    assert layout.folders()[0] == Path("/sys/fs/cgroup/cpu,cpuacct/corefit-dev")


def test_v1_in_a_container_keeps_what_is_below_the_mount() -> None:
    layout = locate("dev", "4:memory:/docker/abc/mine\n", V1_CONTAINER_MOUNTS)
    assert layout.root == PurePosixPath("/mine/corefit-dev")


def test_v2_is_at_the_root_of_what_is_visible() -> None:
    layout = locate("dev", "0::/user.slice/session.scope\n", V2_MOUNTS)
    assert layout.unified_only
    assert layout.folders() == [Path("/sys/fs/cgroup/corefit-dev")]


def test_no_tree_at_all_is_refused() -> None:
    with pytest.raises(UnsupportedHostError, match="memory controller"):
        locate("dev", "", "28 1 0:26 / / rw - ext4 /dev/vda rw\n")


def v2_tree(folder: Path, controllers: str) -> str:
    (folder / "cgroup.controllers").write_text(controllers)
    return f"30 23 0:26 / {folder} rw - cgroup2 cgroup2 rw\n"


def test_v2_hands_controllers_down_and_is_removed_again(tmp_path: Path) -> None:
    """All that are offered: the kubelet asks for hugetlb where there is one, and its next version may for another."""
    said: list[str] = []
    layout = locate("dev", "0::/\n", v2_tree(tmp_path, "cpuset cpu io memory hugetlb pids rdma misc\n"))
    assert make(layout, said.append) == []
    handed = (tmp_path / "cgroup.subtree_control").read_text()
    assert handed == "+cpuset +cpu +io +memory +hugetlb +pids +rdma +misc"
    assert said == []
    (tmp_path / "corefit-dev" / "kubepods" / "pod1").mkdir(parents=True)
    remove(layout.folders(), [])
    assert not (tmp_path / "corefit-dev").exists()
    remove(layout.folders(), [])


def test_v2_without_the_controllers_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedHostError, match=r"no cpu controller.*"):
        make(locate("dev", "0::/\n", v2_tree(tmp_path, "memory pids\n")), print)


class Kernel:
    """A v2 root that refuses some controllers; like the kernel it takes all that are in one write, or none."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, refused: dict[str, int]) -> None:
        self.handed: list[str] = []
        self._refused = refused
        monkeypatch.setattr(cgroups, "_control", self.write)

    def write(self, _mount: Path, text: str) -> None:
        names = [part.removeprefix("+") for part in text.split()]
        for name in names:
            if number := self._refused.get(name):
                raise OSError(number, os.strerror(number))
        self.handed += names


def test_v2_controllers_that_are_not_handed_down_are_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = Kernel(monkeypatch, {"misc": errno.EOPNOTSUPP, "io": errno.EINVAL})
    said: list[str] = []
    make(locate("dev", "0::/\n", v2_tree(tmp_path, "cpuset cpu io memory hugetlb pids misc\n")), said.append)
    assert kernel.handed == ["cpuset", "cpu", "memory", "hugetlb", "pids"]
    [line] = said
    assert "io (Invalid argument), misc (Operation not supported)" in line


@pytest.mark.parametrize(
    ("refused", "error", "said"),
    [
        (("hugetlb",), errno.EINVAL, r"does not hand the cgroup controller hugetlb down.*"),
        (("cpu",), errno.EINVAL, r"real-time"),
        (("cpu", "memory", "pids", "hugetlb"), errno.EBUSY, r"processes live in .*"),
        (("cpu", "memory", "pids", "hugetlb"), errno.EROFS, r"--privileged"),
    ],
)
def test_v2_controllers_that_the_kubelet_needs_must_be_handed_down(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refused: tuple[str, ...], error: int, said: str
) -> None:
    Kernel(monkeypatch, dict.fromkeys(refused, error))
    with pytest.raises(UnsupportedHostError, match=said):
        make(locate("dev", "0::/\n", v2_tree(tmp_path, "cpu memory hugetlb pids\n")), print)


def test_parents_that_we_made_go_unless_they_are_in_use(tmp_path: Path) -> None:
    mounts = f"25 1 0:23 / {tmp_path} rw - cgroup cgroup rw,memory\n"
    one, two = (locate(name, "4:memory:/a/b\n", mounts) for name in ("one", "two"))
    made = make(one, print)
    assert made == [tmp_path / "a", tmp_path / "a/b"]
    assert make(two, print) == []
    remove(one.folders(), made)
    assert (tmp_path / "a/b/corefit-two").is_dir()
    remove(two.folders(), made)
    assert list(tmp_path.iterdir()) == []
