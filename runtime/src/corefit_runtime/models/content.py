"""Recognises files that are no models (Git LFS pointers, HTML pages, archives), and undoes content encodings."""

import re
import zlib
from collections.abc import Iterator
from typing import Final

from corefit_core.errors import ModelUnavailable

AUTO: Final = 32 + zlib.MAX_WBITS
"""zlib's code for: gzip or zlib, by the header."""
PIECE: Final = 1 << 20
"""Bytes that come out of the decoder at once, however far a block expands."""
LOOKED_AT: Final = 512
_KINDS: Final = (
    (rb"version https://git-lfs", "a Git LFS pointer instead of the file: run `git lfs pull`, or use the download URL"),
    (rb"\s*<(?i:!doctype html|html|head|title)", "an HTML page, such as a sign-in or error page: is the URI a file's?"),
    (rb"\s*<(?:\?xml|[A-Za-z])", "an XML document, such as an object store's error: is the URI a file's?"),
    (rb'\s*[\[{]\s*["\[{\]}]', "a JSON document: is the URI a file's?"),
    (rb"\x1f\x8b", "gzip-compressed: decompress it, or have it served with Content-Encoding: gzip"),
    (rb"BZh|\xfd7zXZ|\x28\xb5\x2f\xfd", "compressed: decompress it"),
    (rb"PK[\x03\x05]", "a zip archive, as PyTorch and Keras write them: export the model to ONNX"),
    (rb"\x89HDF", "an HDF5 file, as Keras writes them: export the model to ONNX"),
    (rb"\x80[\x02-\x05]", "a Python pickle: export the model to ONNX (skl2onnx for scikit-learn)"),
    (rb"(?s:.{4})TFL3", "a TensorFlow Lite model: export the model to ONNX"),
    (rb"(?s:.{257})ustar", "a tar archive: give the model's own file"),
    (rb"\Z", "empty"),
)


def recognised(first: bytes) -> str:
    """What a file is that is no model, with what to do about it, by its first `LOOKED_AT` bytes; empty if unknown."""
    return next((what for pattern, what in _KINDS if re.match(pattern, first)), "")


class Decoder:
    """Undoes `Content-Encoding` as the bytes come.

    Args:
        encoding: the header's value.

    Attributes:
        complete: whether all has come that the encoding says there is.

    Raises:
        ModelUnavailable: an encoding that isn't known.
    """

    def __init__(self, encoding: str) -> None:
        kind = encoding.strip().lower()
        if kind not in {"", "identity", "gzip", "x-gzip", "deflate"}:
            raise ModelUnavailable(
                "the server sends it in a Content-Encoding that is not supported: use gzip, deflate or none"
            )
        self._stream = zlib.decompressobj(AUTO) if kind not in {"", "identity"} else None
        self.complete = self._stream is None

    @property
    def plain(self) -> bool:
        """Whether there is nothing to undo."""
        return self._stream is None

    def feed(self, block: bytes) -> Iterator[bytes]:
        """What the next bytes stand for, in pieces.

        Raises:
            OSError: they aren't what the header says.
        """
        if self._stream is None:
            yield block
            return
        while block:
            if self._stream.eof:  # A gzip file may have several members (RFC 1952, 2.2).
                self._stream = zlib.decompressobj(AUTO)
            try:
                piece = self._stream.decompress(block, PIECE)
            except zlib.error as error:
                raise OSError(f"what the server sends is not encoded as its Content-Encoding says: {error}") from error
            block = self._stream.unconsumed_tail or self._stream.unused_data
            self.complete = self._stream.eof
            yield piece
