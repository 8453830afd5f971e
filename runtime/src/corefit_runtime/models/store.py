"""Where models come from: a local file or an HTTP server, into a folder of our own, whole or not at all.

A download goes to a `.part` file that is resumed after a failure, checked, and renamed into place; it is not forced to
the disk, since what a start finds there is believed by its checksum only, and else fetched anew. Blocking: run it off
the event loop. The model is one file here; `model_files` takes what it refers to outside itself (ONNX external data).
"""

import hashlib
import logging
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final
from urllib.parse import unquote, urlsplit

from corefit_core.errors import (
    ChecksumMismatch,
    ConfigError,
    CorefitError,
    ModelInvalid,
    ModelTooLarge,
    ModelUnavailable,
)
from corefit_runtime.models import content
from corefit_runtime.models.access import Access

if TYPE_CHECKING:
    from http.client import HTTPResponse

log: Final = logging.getLogger(__name__)
BLOCK: Final = 1 << 20
PROGRESS_EVERY_S: Final = 5.0

Progress = Callable[[int, int | None], None]
Stamp = tuple[int, int, int] | None


@dataclass(frozen=True, kw_only=True)
class StoredModel:
    """A model file that is whole."""

    path: Path
    sha256: str


def fetch(
    uri: str, sha256: str, folder: Path, progress: Progress | None = None, access: Access | None = None
) -> StoredModel:
    """The model as a local file.

    Raises:
        ModelUnavailable: it can't be fetched or read.
        ChecksumMismatch: it is another file than the checksum names.
        ModelInvalid: it is a file of another kind than a model.
        ConfigError: a kind of URI that isn't known.
    """
    path = local(uri)
    if path is not None:
        return _checked(path, sha256, uri)
    return _download(uri, sha256, folder, progress or reporter(uri), access or Access())


def local(uri: str) -> Path | None:
    """The file that a path or a file:// URI names; None for one that is downloaded.

    Raises:
        ModelUnavailable: not a URI at all.
        ConfigError: a kind of URI that isn't known.
    """
    try:
        parts = urlsplit(uri)
    except ValueError as error:
        raise ModelUnavailable(f"{uri} can't be fetched: {error}") from error
    if parts.scheme in {"", "file"}:
        return Path(unquote(parts.path) if parts.scheme else uri).absolute()
    if parts.scheme not in {"http", "https"}:
        raise ConfigError(f"--model is {uri!r}: a path, file://, http:// or https:// is understood")
    return None


def stamp(uri: str) -> Stamp:
    """Tells a replaced or rewritten local file from what it was; None for one that isn't there or isn't local."""
    try:
        path = local(uri)
        found = path.stat() if path is not None else None
    except (CorefitError, OSError, ValueError):
        return None
    return None if found is None else (found.st_ino, found.st_size, found.st_mtime_ns)


def digest(path: Path) -> str:
    """The file's SHA-256."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def reporter(uri: str) -> Progress:
    """A bar on a terminal, a log line each five seconds elsewhere."""
    last = 0.0

    def show(done: int, total: int | None) -> None:
        nonlocal last
        ended, now = done == total, time.monotonic()
        if sys.stderr.isatty():
            share = f"{100 * done / total:3.0f} %" if total else ""
            sys.stderr.write(f"\r{uri}: {done / 1e6:.1f} MB {share}" + ("\n" if ended else ""))
        elif ended or now - last >= PROGRESS_EVERY_S:
            last = now
            log.info("downloading %s: %d of %s bytes", uri, done, total or "?")

    return show


def _checked(path: Path, sha256: str, uri: str) -> StoredModel:
    try:
        other = _recognised(path)
        found = digest(path)
    except (OSError, ValueError) as error:  # A ValueError is of a name that no file can have.
        raise ModelUnavailable(f"{uri} can't be read: {getattr(error, 'strerror', None) or error}") from error
    if other:
        raise ModelInvalid(f"{uri} is no ONNX model but {other}")
    if sha256 and found != sha256.lower():
        raise ChecksumMismatch(f"{uri} has the SHA-256 {found}, not {sha256.lower()}: fix the file or the checksum")
    return StoredModel(path=path, sha256=found)


def _recognised(path: Path) -> str:
    with path.open("rb") as file:
        return content.recognised(file.read(content.LOOKED_AT))


def _download(uri: str, sha256: str, folder: Path, progress: Progress, access: Access) -> StoredModel:
    # One file per URI and checksum: a changed URI never meets another model's bytes.
    stem = hashlib.sha256(f"{uri} {sha256}".encode()).hexdigest()[:16]
    target, part = folder / f"{stem}.onnx", folder / f"{stem}.part"
    _check_credentials(uri, access)
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if sha256 and target.exists() and digest(target) == sha256.lower():
            return StoredModel(path=target, sha256=sha256.lower())
        _receive(uri, part, progress, access, resume=bool(sha256))
        stored = _checked(part, sha256, uri)
        part.replace(target)
    except (ChecksumMismatch, ModelInvalid, ModelTooLarge):
        part.unlink(missing_ok=True)  # It is wrong, complete or not: there is nothing to resume.
        raise
    except OSError as error:
        if (close := getattr(error, "close", None)) is not None:
            close()  # An HTTPError holds the connection.
        raise ModelUnavailable(f"{uri} can't be fetched: {_why(error)}") from error
    return StoredModel(path=target, sha256=stored.sha256)


def _check_credentials(uri: str, access: Access) -> None:
    """A model that is here already gets no Secret of another server either: the Secret is mounted for it all the same.

    Raises:
        ModelUnavailable: the Secret is for another server, or there is nothing in it.
    """
    if access.credentials is not None:
        from corefit_runtime.models import download  # noqa: PLC0415 - as in `_receive`

        download.check_server(uri, access.credentials)


def _receive(uri: str, part: Path, progress: Progress, access: Access, *, resume: bool) -> None:
    # Imported here: a model on a disk needs neither http.client nor ssl (60 ms of CPU at start).
    import urllib.error  # noqa: PLC0415

    from corefit_runtime.models import download  # noqa: PLC0415

    # Without a checksum nobody would notice that the file has changed between the two halves.
    have = part.stat().st_size if resume and part.exists() else 0
    try:
        if not _answered(uri, part, have, progress, access):
            _answered(uri, part, 0, progress, access)
    except urllib.error.HTTPError as error:
        if error.code != 416:
            raise
        # Range not satisfiable: the part is complete already, or longer than the file; the checksum tells which.
    except download.MALFORMED as error:
        # Whoever may read the resource sees the message, and whoever writes it names the server: it repeats no answer.
        raise ModelUnavailable(f"{uri} can't be fetched: {download.malformed(error)}") from error


def _answered(uri: str, part: Path, have: int, progress: Progress, access: Access) -> bool:
    """Receives what is missing after `have` bytes; False where the rest can't be put behind them."""
    from corefit_runtime.models import download  # noqa: PLC0415 - as in `_receive`

    with download.get(uri, {"Range": f"bytes={have}-"} if have else {}, access) as response:
        resumed = response.status == 206
        decoder = content.Decoder(response.headers.get("Content-Encoding") or "")
        if resumed and not decoder.plain:
            return False  # Its bytes are counted as they are sent, ours as they are.
        with part.open("ab" if resumed else "wb") as file:
            _copy(response, decoder, file, have=have if resumed else 0, progress=progress, access=access)
    return True


def _copy(
    response: "HTTPResponse",
    decoder: content.Decoder,
    file: IO[bytes],
    *,
    have: int,
    progress: Progress,
    access: Access,
) -> None:
    length = response.headers.get("Content-Length")
    total, done = (have + int(length) if length else None), have
    written = have
    access.check_size(total or 0)
    while block := response.read(BLOCK):
        for piece in decoder.feed(block):
            written += len(piece)
            access.check_size(written)
            file.write(piece)
        done += len(block)
        progress(done, total)
    if total is not None and done != total:
        raise OSError(f"the connection ended at {done} of {total} bytes")
    if not decoder.complete:
        raise OSError(f"the encoded content ended early, after {done} bytes")


def _why(error: OSError) -> str:
    reason, status = getattr(error, "reason", None), getattr(error, "code", None)
    if status is not None:  # An HTTPError, whose module is imported only where it is needed.
        more = (
            ", a redirect that is not followed: to no http or https URL, or in a circle" if 300 <= status < 400 else ""
        )
        return f"the server answered with HTTP status {status}{more}"
    return str(reason if reason is not None else error) or type(error).__name__
