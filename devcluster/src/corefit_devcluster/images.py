"""Building the images on this machine, without Docker: a Debian base by mmdebstrap, our Dockerfiles by buildah.

An archive is named by the hash of all that went into it, and is rebuilt only when that changes.
"""

import hashlib
import os
import platform
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from corefit_devcluster import contexts, needs
from corefit_devcluster.contexts import IMAGES, Image
from corefit_devcluster.host import install, missing_packages
from corefit_devcluster.mounts import on_overlay
from corefit_devcluster.oci import from_root
from corefit_devcluster.paths import Home
from corefit_devcluster.progress import Reporter
from corefit_devcluster.run import run, succeeds

SUITE = "bookworm"
BASE_IMAGE = "corefit.local/base:1"
# The suite's own, with its security updates.
BALANCER_IMAGE = "corefit.local/haproxy:2.6"
# numpy and onnxruntime need libstdc++6; models may come from https.
PACKAGES = ("python3", "ca-certificates", "libstdc++6")
EXCLUDED = ("/usr/share/man/*", "/usr/share/info/*", "/usr/share/locale/*", "/usr/share/doc/*")
# Else buildah refuses every image where the distribution has not installed a policy.
_POLICY = '{"default": [{"type": "insecureAcceptAnything"}]}'
# Of one image, about 100 MB each: with only the newest, two checkouts would delete what the other is loading.
KEPT_ARCHIVES = 4


@dataclass(frozen=True)
class ImageBuilder:
    """Builds what the cluster is to run."""

    home: Home
    reporter: Reporter

    def ensure(self) -> list[Path]:
        """Return an archive for each image, having built those whose inputs have changed."""
        return [*(self._image(image) for image in IMAGES), self.balancer()]

    def _image(self, image: Image) -> Path:
        archive = self.home.images / f"{image.folder}-{image.version()}-{image.key(_base_key())}.tar"
        if archive.exists():
            return archive
        install(missing_packages(needs.IMAGES), self.reporter)
        base = self.base()
        with self.reporter.step(f"Building {image.reference()} (about half a minute)"):
            self._build(image, base, archive)
        self._prune(f"{image.folder}-*.tar")
        return archive

    def _prune(self, pattern: str) -> None:
        archives = sorted(self.home.images.glob(pattern), key=lambda path: path.stat().st_mtime)
        for older in archives[:-KEPT_ARCHIVES]:
            older.unlink()

    def base(self) -> Path:
        """Make the base once: a small Debian with Python, as an image of a single layer."""
        return self._debian("base", PACKAGES, BASE_IMAGE)

    def balancer(self) -> Path:
        """Make the balancer's image once: a small Debian with HAProxy, which ends in good order by SIGUSR1."""
        return self._debian("haproxy", ("haproxy",), BALANCER_IMAGE, stop_signal="SIGUSR1")

    def _debian(self, name: str, packages: tuple[str, ...], reference: str, *, stop_signal: str = "") -> Path:
        archive = self.home.images / f"{name}-{SUITE}-{_key(packages, reference, stop_signal)}.tar"
        if archive.exists():
            return archive
        install(missing_packages(needs.IMAGES), self.reporter)
        archive.parent.mkdir(parents=True, exist_ok=True)
        with (
            self.reporter.step(f"Building {reference} of Debian packages once (half a minute to three)"),
            tempfile.TemporaryDirectory(dir=archive.parent) as scratch,
        ):
            root, made = Path(scratch) / "root.tar", Path(scratch) / "image.tar"
            run([*_mmdebstrap(packages), SUITE, root])
            made.write_bytes(from_root(root.read_bytes(), reference, platform.machine(), stop_signal=stop_signal))
            made.replace(archive)
        return archive

    def _build(self, image: Image, base: Path, archive: Path) -> None:
        with tempfile.TemporaryDirectory(dir=archive.parent) as scratch, _storage(Path(scratch)) as buildah:
            context, made = Path(scratch) / "context", Path(scratch) / "image.tar"
            contexts.write(image, context)
            how = ["--quiet", "--isolation", "chroot", "--pull-never", "--build-arg", f"BASE=oci-archive:{base}"]
            # Every file dated alike: equal inputs then give equal layers.
            run([*buildah, "build", *how, "--timestamp", "0", "--tag", image.reference(), str(context)])
            run([*buildah, "push", "--quiet", image.reference(), f"oci-archive:{made}:{image.reference()}"])
            made.replace(archive)


def _mmdebstrap(packages: tuple[str, ...]) -> list[str]:
    excluded = [f"--dpkgopt=path-exclude={pattern}" for pattern in EXCLUDED]
    kept = "--dpkgopt=path-include=/usr/share/doc/*/copyright"
    return ["nice", "mmdebstrap", "--quiet", "--variant=essential", f"--include={','.join(packages)}", *excluded, kept]


def _base_key() -> str:
    return _key(PACKAGES, BASE_IMAGE)


def _key(packages: tuple[str, ...], reference: str, stop_signal: str = "") -> str:
    made_of = [*_mmdebstrap(packages), SUITE, platform.machine(), reference, *([stop_signal] if stop_signal else [])]
    return hashlib.sha256(" ".join(made_of).encode()).hexdigest()[:12]


@contextmanager
def _storage(folder: Path) -> Iterator[list[str]]:
    """Give buildah a storage of its own, and leave neither it nor its mount behind."""
    policy, root = folder / "policy.json", folder / "storage"
    policy.write_text(_POLICY)
    driver = "vfs" if on_overlay(folder) else "overlay"
    options = ["--root", str(root), "--runroot", str(folder / "run"), "--storage-driver", driver]
    try:
        yield ["buildah", *options, "--signature-policy", str(policy)]
    finally:
        mounted = root / driver
        if os.path.ismount(mounted):
            succeeds(["umount", mounted])
        shutil.rmtree(root, ignore_errors=True)
