"""Writes the benches' models into a cache: `python -m bench.models.generate [NAME...] [--into FOLDER]`.

Weights are seeded, so a name always gives the same file; `5ms` and `20ms` are made to cost that on one core of
this machine and are cached under the CPU's name. Nothing here is committed: run it again.
"""

import argparse
import hashlib
import os
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Final

import onnx
from bench.models import cost, nets

_VERSION: Final = 1
"""Of the generators; a change here makes every cached file anew."""

FIXED: Final[dict[str, Callable[[], onnx.ModelProto]]] = {
    "tiny": nets.tiny,
    "mlp": nets.mlp,
    "mlp-100mb": partial(nets.mlp, hidden=2816, layers=4),
    "mobilenet": nets.mobilenet,
    "resnet18": nets.resnet18,
}
CALIBRATED: Final[dict[str, tuple[Callable[[int], onnx.ModelProto], float]]] = {
    "5ms": (partial(nets.stack, channels=32), 0.005),
    "20ms": (partial(nets.stack, channels=64), 0.020),
}
NAMES: Final = (*FIXED, *CALIBRATED)


def cache_folder() -> Path:
    """Where generated models are kept: $XDG_CACHE_HOME/corefit-bench, by default under ~/.cache."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "corefit-bench"


def ensure(name: str, folder: Path | None = None) -> Path:
    """The file of the model `name`, generated when it isn't in `folder` yet.

    Raises:
        KeyError: no such model.
    """
    path = (folder or cache_folder()) / f"{name}-{_key(name)}.onnx"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        _write(_build(name), path)
    return path


def main(argv: Sequence[str] | None = None) -> int:
    """Write the models asked for (all by default) and print path and measured cost of each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(NAMES)}; all by default")
    parser.add_argument("--into", type=Path, default=None, help=f"folder (default: {cache_folder()})")
    arguments = parser.parse_args(argv)
    if unknown := set(arguments.names) - set(NAMES):
        parser.error(f"no model named {', '.join(sorted(unknown))}; there are {', '.join(NAMES)}")
    for name in arguments.names or NAMES:
        path = ensure(name, arguments.into)
        print(f"{name:10}  {1000 * cost.cpu_seconds(onnx.load(path)):8.3f} ms  {path}")
    return 0


def _build(name: str) -> onnx.ModelProto:
    if name in FIXED:
        return FIXED[name]()
    build, target_s = CALIBRATED[name]
    return cost.of_cost(build, target_s)[0]


def _key(name: str) -> str:
    text = f"{_VERSION} {_cpu() if name in CALIBRATED else ''}"
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def _cpu() -> str:
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    wanted = ("model name", "model\t", "stepping", "cpu MHz", "cache size")
    return "\n".join(dict.fromkeys(line for line in lines if line.startswith(wanted)))


def _write(model: onnx.ModelProto, path: Path) -> None:
    """Into a temporary file and renamed, so that two benches at once never read half a model."""
    with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".part", delete=False) as file:
        file.write(model.SerializeToString())
    part = Path(file.name)
    part.chmod(0o644)
    part.replace(path)


if __name__ == "__main__":
    raise SystemExit(main())
