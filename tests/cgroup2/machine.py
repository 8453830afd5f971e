"""A virtual machine with cgroup v2, made of Debian packages: for hosts that have cgroup v1 only, or to be sure.

The processor is emulated (qemu's TCG), so that it runs wherever qemu does, and takes ten to thirty times as long as
the host for everything. The checkout, its virtual environment with the Python of it, the cluster's programs and the
images are copied in at the paths that they have here. Nothing leads out of the machine but a shared folder.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
PACKAGES = (
    *("linux-image-amd64", "systemd", "systemd-sysv", "udev", "dbus", "kmod", "procps", "ca-certificates", "python3"),
    *("iproute2", "iptables", "nftables", "conntrack", "containernetworking-plugins", "libseccomp2"),
)
UNIT = """\
[Unit]
Description=The tests on cgroup v2
After=multi-user.target

[Service]
Type=oneshot
ExecStartPre=/bin/mkdir -p /share
ExecStartPre=/bin/mount -t 9p -o trans=virtio,version=9p2000.L share /share
ExecStart=/bin/bash /share/inside.sh
KillMode=process
TimeoutStartSec=infinity
StandardOutput=tty
StandardError=tty
TTYPath=/dev/console
"""
# tsc=reliable: otherwise the guest falls back to the HPET, and everything takes several times as long.
KERNEL = "root=/dev/vda rw console=ttyS0 panic=-1 tsc=reliable mitigations=off quiet"
DISK = "12G"
MEMORY_MB = 8192


@dataclass(frozen=True)
class Result:
    """What came of a run.

    Attributes:
        steps: the steps in their order: name -> (exit status, seconds in the machine).
        figures: what was noted on the way.
        ended: whether the script came to its end.
    """

    steps: dict[str, tuple[int, int]]
    figures: list[str]
    ended: bool


@dataclass(frozen=True)
class Machine:
    """The virtual machine's files, below one folder.

    Attributes:
        folder: for the root file system, the disk and the shared folder.
        programs: where those of `needs.MACHINE` are.
        say: called with each line of progress.
    """

    folder: Path
    programs: Mapping[str, str]
    say: Callable[[str], None]

    @property
    def share(self) -> Path:
        """The folder that the machine and the host both see."""
        return self.folder / "share"

    def make(self, copied: Sequence[Path]) -> None:
        """Make the root file system (once a folder, some minutes), and a disk of it with these paths copied in."""
        archive, root = self.folder / "root.tar", self.folder / "root"
        if not archive.exists():
            self.say("making the root file system from Debian packages")
            scratch = archive.with_suffix(".new.tar")
            include = f"--include={','.join(PACKAGES)}"
            self._run(self.programs["mmdebstrap"], "--quiet", "--variant=minbase", include, "bookworm", scratch)
            scratch.replace(archive)
        shutil.rmtree(root, ignore_errors=True)
        root.mkdir(parents=True)
        self._run("tar", "--extract", "--numeric-owner", "--directory", root, "--file", archive)
        for path in copied:
            self._copy(path, root)
        self._set_up(root)
        self.say("making the disk")
        self._run(self.programs["mke2fs"], "-q", "-F", "-t", "ext4", "-d", root, self.folder / "disk.img", DISK)
        for name in ("vmlinuz", "initrd.img"):
            (image,) = (root / "boot").glob(f"{name}-*")
            shutil.copy(image, self.folder / name)
        shutil.rmtree(root)

    def _copy(self, path: Path, root: Path) -> None:
        target = root / path.relative_to("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        # Hard links where that can be: what is copied takes no room, and nothing here writes to it.
        linked = subprocess.run(["cp", "-al", path, target.parent], capture_output=True, check=False)
        if linked.returncode != 0:
            shutil.rmtree(target, ignore_errors=True)
            self._run("cp", "-a", path, target.parent)

    def _set_up(self, root: Path) -> None:
        units = root / "etc/systemd/system"
        (units / "cgroup2.service").write_text(UNIT)
        (units / "multi-user.target.wants").mkdir(exist_ok=True)
        for link, to in (
            (units / "multi-user.target.wants/cgroup2.service", "/etc/systemd/system/cgroup2.service"),
            (root / "etc/tmpfiles.d/tmp.conf", "/dev/null"),  # /tmp would be emptied, and checkouts may be there
        ):
            link.unlink(missing_ok=True)
            link.symlink_to(to)
        (root / "etc/hostname").write_text("cgroup2\n")

    def run(self, variables: dict[str, str], deadline_s: float) -> Result:
        """Boot, run inside.sh with these variables, and wait until the machine is off."""
        shutil.rmtree(self.share, ignore_errors=True)
        self.share.mkdir()
        for name in ("inside.sh", "ask.py"):
            shutil.copy(HERE / name, self.share)
        (self.share / "variables").write_text("".join(f"{name}='{value}'\n" for name, value in variables.items()))
        self.say("booting: a minute or two")
        with subprocess.Popen(
            self._qemu(deadline_s), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, errors="replace"
        ) as process:
            try:
                self._follow(process)
            finally:
                process.kill()
        return self._result()

    def _qemu(self, deadline_s: float) -> list[str]:
        bound = ["setpriv", "--pdeathsig", "KILL"]  # nothing outlives the process that started it
        niceness = os.environ.get("COREFIT_CGROUP2_NICE", "0")
        return [
            *("nice", "-n", niceness, *bound, "timeout", "--foreground", "--signal=KILL", f"{deadline_s:.0f}", *bound),
            *(
                self.programs["qemu-system-x86_64"],
                "-accel",
                "tcg,thread=multi",
                "-cpu",
                "max",
                "-smp",
                "2",
                "-m",
                str(MEMORY_MB),
            ),
            *("-nographic", "-no-reboot", "-nic", "none"),
            *("-kernel", str(self.folder / "vmlinuz"), "-initrd", str(self.folder / "initrd.img"), "-append", KERNEL),
            *("-drive", f"file={self.folder / 'disk.img'},if=virtio,format=raw,cache=unsafe"),
            *("-virtfs", f"local,path={self.share},mount_tag=share,security_model=none"),
        ]

    def _follow(self, process: "subprocess.Popen[str]") -> None:
        """Say what the machine's console says, from where the kernel has handed over."""
        with (self.folder / "console.log").open("w") as log:
            for line in process.stdout or ():
                log.write(line)
                log.flush()
                self.say("".join(character for character in line if character.isprintable()))

    def _result(self) -> Result:
        steps: dict[str, tuple[int, int]] = {}
        for line in _lines(self.share / "steps"):
            name, status, seconds = line.split()
            steps[name] = (int(status), int(seconds))
        return Result(steps, _lines(self.share / "figures"), (self.share / "end").exists())

    def _run(self, *command: str | Path) -> None:
        subprocess.run(command, check=True, stdin=subprocess.DEVNULL)


def _lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


def interpreter() -> list[Path]:
    """The Python that the virtual environment was made with; none when it is Debian's own, which the machine has."""
    prefix = Path(sys.base_prefix)
    return [] if prefix in {Path("/usr"), Path("/")} else [prefix]
