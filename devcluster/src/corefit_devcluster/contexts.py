"""What goes into the images, laid out for their Dockerfiles: a folder `site/` that uv fills from the workspace's lock.

Needs neither root nor Linux: where there is a docker, `docker build` can take it from here.
"""

import hashlib
import os
import platform
import shutil
import tempfile
import tomllib
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from uv import find_uv_bin

from corefit_devcluster import sbom
from corefit_devcluster.errors import BuildError
from corefit_devcluster.run import run

WORKSPACE = Path(__file__).resolve().parents[3]
# Python of the Debian release that the base is made of; python:3.11-slim elsewhere.
PYTHON = "3.11"
# bookworm's C library.
_PLATFORM = "manylinux_2_36"
# Of no public registry: what is not loaded must not be pulled from a namespace that anybody may register.
_REGISTRY = "corefit.local"


@dataclass(frozen=True)
class Image:
    """One image of ours.

    Attributes:
        folder: the workspace member that has the Dockerfile.
        needs: other members whose code goes into it.
        extra: an optional part of the member's that it has.
    """

    folder: str
    needs: tuple[str, ...] = ("core",)
    extra: str = ""

    @property
    def distribution(self) -> str:
        """The member's distribution."""
        return f"corefit-{self.folder}"

    @property
    def dockerfile(self) -> Path:
        """Its Dockerfile."""
        return WORKSPACE / self.folder / "Dockerfile"

    def version(self) -> str:
        """Read the version that tags it."""
        document = tomllib.loads((WORKSPACE / self.folder / "pyproject.toml").read_text())
        return str(document["project"]["version"])

    def reference(self) -> str:
        """Name it as the kubelet does."""
        return f"{_REGISTRY}/{self.folder}:{self.version()}"

    def key(self, base: str) -> str:
        """Hash everything that it is made of."""
        digest = hashlib.sha256(f"{base} {PYTHON} {_target()} {self.reference()}".encode())
        digest.update(Path(sbom.__file__).read_bytes())
        for path in (WORKSPACE / "uv.lock", self.dockerfile, *self._sources()):
            digest.update(str(path.relative_to(WORKSPACE)).encode() + b"\0")
            digest.update(hashlib.sha256(path.read_bytes()).digest())
        return digest.hexdigest()[:12]

    def _sources(self) -> list[Path]:
        found: list[Path] = []
        for member in (self.folder, *self.needs):
            found.append(WORKSPACE / member / "pyproject.toml")
            sources = (WORKSPACE / member / "src").rglob("*")
            found += sorted(path for path in sources if path.is_file() and "__pycache__" not in path.parts)
        return found


IMAGES = (Image("operator"), Image("runtime", extra="debug"))


def write(image: Image, target: Path) -> None:
    """Make the build context of an image: its Dockerfile and `site/`."""
    if not (WORKSPACE / "uv.lock").exists():
        raise BuildError(f"{WORKSPACE} is no checkout", hint="Images are built from a checkout of the repository.")
    site = target / "site"
    shutil.rmtree(site, ignore_errors=True)
    site.mkdir(parents=True)
    shutil.copy(image.dockerfile, target / "Dockerfile")
    shutil.copy(sbom.__file__, target / "sbom.py")
    with tempfile.TemporaryDirectory() as scratch:
        _install_locked(image, site, Path(scratch))
        _install_own(image, site, Path(scratch))
    drop_scripts(site / "bin")
    (site / ".lock").unlink(missing_ok=True)


def _install_locked(image: Image, site: Path, scratch: Path) -> None:
    """Install the dependencies, by the hashes in the lock and as wheels only."""
    listed = scratch / "requirements.txt"
    export = [find_uv_bin(), "export", "--quiet", "--frozen", "--no-dev", "--no-emit-workspace", "--no-header"]
    export += ["--extra", image.extra] if image.extra else []
    run([*export, "--package", image.distribution, "--output-file", listed], cwd=WORKSPACE, env=_environment())
    chosen = ["--require-hashes", "--only-binary", ":all:", "--no-deps", "--requirement", str(listed)]
    run(_pip_install(site, *chosen), cwd=WORKSPACE, env=_environment())


def drop_scripts(folder: Path) -> None:
    """Keep the programs, but not the scripts: these name this machine's interpreter."""
    for path in folder.glob("*"):
        if path.read_bytes()[:2] == b"#!":
            path.unlink()
    with suppress(OSError):
        folder.rmdir()


def _install_own(image: Image, site: Path, scratch: Path) -> None:
    """Install the workspace's own packages, built as the wheels that a release would have."""
    wheels = scratch / "wheels"
    for member in (image.folder, *image.needs):
        build = [find_uv_bin(), "build", "--quiet", "--wheel", "--package", f"corefit-{member}"]
        run([*build, "--out-dir", str(wheels)], cwd=WORKSPACE, env=_environment())
    found = [str(wheel) for wheel in sorted(wheels.glob("*.whl"))]
    run(_pip_install(site, "--no-deps", "--no-index", *found), cwd=WORKSPACE, env=_environment())


def _pip_install(site: Path, *what: str) -> list[str]:
    where = ["--target", str(site), "--python-version", PYTHON, "--python-platform", _target()]
    return [find_uv_bin(), "pip", "install", "--quiet", "--link-mode", "copy", *where, *what]


def _target() -> str:
    machine = {"arm64": "aarch64", "AMD64": "x86_64"}.get(platform.machine(), platform.machine())
    return f"{machine}-{_PLATFORM}"


def _environment() -> dict[str, str]:
    """Keep the caller's choices of index, but not of another environment or project."""
    dropped = {"VIRTUAL_ENV", "UV_PROJECT", "UV_PROJECT_ENVIRONMENT"}
    return {name: value for name, value in os.environ.items() if name not in dropped}
