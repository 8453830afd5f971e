"""The files of a model: read once, checked, and held, so that what is served is what was checked.

A model in one file is read into memory, and the session is made from those bytes. A model whose weights are in other
files (ONNX external data) is copied into a folder of our own while it is checked: onnxruntime maps such files into
memory, so that whoever changed or cut them would change the weights under a running session, or end the process with
SIGBUS. Blocking: run it off the event loop.
"""

import contextlib
import fcntl
import hashlib
import os
import shutil
import stat
import tempfile
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import IO, Final

from corefit_core.errors import ChecksumMismatch, ModelInvalid, ModelUnavailable
from corefit_runtime.models import content
from corefit_runtime.onnx import reader
from corefit_runtime.onnx.model import OnnxModel, locations

BLOCK: Final = 1 << 20
PREFIX: Final = "weights-"
MODEL: Final = "model.onnx"
LOCK: Final = ".lock"
NAMED: Final = 3
"""Files of weights that a message names."""


class Held:
    """A folder of our own, locked as long as it is used; removed when nothing refers to it any more.

    Sessions keep the files that they have mapped. What ended processes have left is removed first.

    Args:
        parent: the folder that it is made in.

    Raises:
        OSError: it can't be made.
    """

    def __init__(self, parent: Path) -> None:
        parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with (parent / f".{PREFIX}lock").open("wb") as turn:
            fcntl.flock(turn, fcntl.LOCK_EX)
            for left in parent.glob(f"{PREFIX}*"):
                _remove_unless_used(left)
            self.path = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))
            self._lock = (self.path / LOCK).open("wb")
            fcntl.flock(self._lock, fcntl.LOCK_EX)
        weakref.finalize(self, _dispose, self.path, self._lock)

    def size(self) -> int:
        """Bytes of the files that are held, but for the model's own."""
        files = (path for path in self.path.rglob("*") if path.is_file() and path.name != MODEL)
        return sum(path.stat().st_size for path in files)


def _dispose(path: Path, lock: IO[bytes]) -> None:
    shutil.rmtree(path, ignore_errors=True)
    lock.close()


def _remove_unless_used(path: Path) -> None:
    # An OSError is mostly that it is locked.
    with contextlib.suppress(OSError), (path / LOCK).open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(path, ignore_errors=True)


class ModelFiles:
    """One model's files, as they were checked.

    Args:
        path: of the model's file.
        data: what is in it.
        held: where it and its weights are, when these are in other files.

    Attributes:
        sha256: of the file; where weights are in other files, of what `(sha256sum < MODEL; sha256sum WEIGHTS...) |
            sha256sum` prints, the names relative to the model's folder and sorted.
        graph: what the file says.
        size: bytes of the file, and of those that hold its weights.
        unpinned: what a checksum that was given does not cover; empty when it covers everything.
    """

    def __init__(self, path: Path, data: bytes, sha256: str, graph: OnnxModel, held: Held | None = None) -> None:
        self.path = path
        self.sha256 = sha256
        self.graph = graph
        self.unpinned = ""
        self.size = len(data) + (held.size() if held is not None else 0)
        self._held = held
        self._data: bytes | None = data if held is None else None

    @property
    def name(self) -> str:
        """The model's file, as messages name it."""
        return self.path.name

    def open(self) -> Path | bytes:
        """What a session is made from: the bytes, or the file in a folder that nobody else writes to.

        Raises:
            ModelUnavailable: the file can't be read any more.
            ChecksumMismatch: it was changed.
        """
        if self._held is not None:
            return self._held.path / MODEL
        data, self._data = self._data, None  # Let go of after the first session: they are as large as the weights.
        if data is None:
            data = _read(self.path, self.path.name)
            if hashlib.sha256(data).hexdigest() != self.sha256:
                raise ChecksumMismatch(
                    f"{self.path.name} was changed since it was loaded: reload it, or bring the old file back"
                )
        return data


def take(path: Path, uri: str, pinned: str, folder: Path, *, strict: bool = False) -> ModelFiles:
    """Reads, checks and holds the files of the model at `path`.

    Args:
        path: a local file.
        uri: how messages name it.
        pinned: the SHA-256 that the user gave; empty for none.
        folder: where files are held that have to be copied.
        strict: refuse a checksum of the model's file alone where weights are in other files.

    Raises:
        ModelUnavailable: a file can't be read or copied.
        ModelInvalid: it is no ONNX model, or names weights outside its own folder.
        ChecksumMismatch: the checksum is another, or covers too little.
    """
    data = _read(path, uri)
    own, pinned = hashlib.sha256(data).hexdigest(), pinned.lower()
    try:
        graph = reader.parse(memoryview(data))
    except ModelInvalid as error:
        _check(uri, pinned, own)  # That it is another file says more than that this one is broken.
        other = content.recognised(data[: content.LOOKED_AT])
        wrong = f"{uri} is no ONNX model but {other}" if other else f"{uri} can't be served: {error}"
        raise ModelInvalid(wrong) from error
    names = locations(graph)
    if not names:
        _check(uri, pinned, own)
        return ModelFiles(path, data, own, graph)
    try:
        held = Held(folder)
        digests = {name: _copy(path, name, held.path) for name in names}
        (held.path / MODEL).write_bytes(data)
    except OSError as error:
        raise ModelUnavailable(f"the weights of {uri} can't be copied to {folder}: {_why(error)}") from error
    files = ModelFiles(path, data, combined(own, digests), graph, held)
    if pinned != own:
        _check(uri, pinned, files.sha256)
        return files
    files.unpinned = f"the checksum covers {path.name}, not the weights in {listed(names)}: {files.sha256} covers all"
    if strict:
        raise ChecksumMismatch(f"{uri} is not pinned whole: {files.unpinned} files, so use that one")
    return files


def listed(names: Sequence[str]) -> str:
    """The names, as a message has room for them: some exporters write a file for each tensor."""
    more = len(names) - NAMED
    return ", ".join(names[:NAMED]) + (f" and {more} more" if more > 0 else "")


def combined(own: str, weights: Mapping[str, str]) -> str:
    """The checksum of a model whose weights are in other files.

    Args:
        own: SHA-256 of the model's file.
        weights: SHA-256 of each of the others by its name.
    """
    lines = [f"{own}  -\n", *(f"{weights[name]}  {name}\n" for name in sorted(weights))]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _check(uri: str, pinned: str, found: str) -> None:
    if pinned and pinned != found:
        raise ChecksumMismatch(f"{uri} has the SHA-256 {found}, not {pinned}: fix the file or the checksum")


def _read(path: Path, name: str) -> bytes:
    try:
        return path.read_bytes()
    except (OSError, ValueError) as error:  # A ValueError is of a name that no file can have.
        raise ModelUnavailable(f"{name} can't be read: {getattr(error, 'strerror', None) or error}") from error


def _why(error: OSError) -> str:
    return f"{error.strerror}: {error.filename}" if error.strerror and error.filename else str(error)


def _copy(model: Path, name: str, held: Path) -> str:
    """Copies a file of weights, and returns the SHA-256 of what was copied."""
    pure, root = PurePosixPath(name), model.parent.resolve()
    leads_out = pure.is_absolute() or ".." in pure.parts or "\0" in name  # No path has a zero byte.
    source = root if leads_out else (root / name).resolve()
    if leads_out or not source.is_relative_to(root):
        raise ModelInvalid(f"{model.name} names weights outside its own folder: {name!r}")
    if name in {MODEL, LOCK}:
        raise ModelInvalid(f"{model.name} names weights in {name!r}, a name of Corefit's own: rename that file")
    target, digest = held / name, hashlib.sha256()
    target.parent.mkdir(parents=True, exist_ok=True)
    # Not blocking, so that a pipe in the file's place doesn't hold the start for ever.
    reader = os.open(source, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(reader, "rb") as file, target.open("xb") as copy:
        if not stat.S_ISREG(os.fstat(reader).st_mode):
            raise ModelInvalid(f"{model.name} names weights in {name!r}, which is not a file")
        while block := file.read(BLOCK):
            copy.write(block)
            digest.update(block)
    return digest.hexdigest()
