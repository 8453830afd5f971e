"""The Open Inference Protocol v2 as messages: bytes in, tensors out, and back. It knows no transport.

Covers inference requests and responses in JSON and with the binary tensor data extension, and the metadata.
Shapes are checked against the model and against the bytes before anything is allocated.
"""

from typing import Any, Final

import msgspec

from corefit_core.errors import InvalidInput
from corefit_runtime.memo import MAX_KEY, Memo
from corefit_runtime.protocol import classification, descriptions, forms, json_data
from corefit_runtime.protocol.forms import Form
from corefit_runtime.protocol.signature import Signature
from corefit_runtime.tensors import datatypes
from corefit_runtime.tensors.datatypes import Array
from corefit_runtime.tensors.strings import NO_STRINGS, Strings

_ENCODER: Final = msgspec.json.Encoder()
_NO_DATA: Final = memoryview(b"")
EMPTY: Final = b'"data":[]'
"""No name holds it, since a quote in a name is written as \\"."""


class Codec:
    """Requests to one model, and the responses.

    Clients repeat themselves: what depends on a request's JSON part alone is worked out once for each such part.

    Args:
        name: the model's, as responses repeat it.
        version: likewise.
        signature: what requests are checked against.
        max_tensors: most inputs and outputs that a request may name.
        max_depth: how deeply JSON may be nested; the outermost object counts as 1.
        strings: what the model may make of strings.

    Attributes:
        strings: likewise.
    """

    def __init__(
        self,
        name: str,
        version: str,
        signature: Signature,
        *,
        max_tensors: int,
        max_depth: int,
        strings: Strings = NO_STRINGS,
    ) -> None:
        self.signature = signature
        self.strings = strings
        self._name = name
        self._version = version
        self._max_tensors = max_tensors
        self._max_depth = max_depth
        self._forms: Memo[bytes, Form] = Memo(128)

    def form(self, body: memoryview, header_length: int | None) -> Form:
        """The form of a request, from a body of which the first `header_length` bytes are JSON (None: all of it).

        Raises:
            InvalidInput: naming what is wrong with it.
        """
        if header_length is None:
            return self._read(body)
        if header_length > len(body):
            raise InvalidInput(f"Inference-Header-Content-Length is {header_length}, the body has {len(body)} bytes")
        key = bytes(body[: min(header_length, MAX_KEY + 1)])
        form = self._forms.get(key)
        if form is None:
            form = self._read(body[:header_length])
            # With an id or with elements in it, it is not going to come again.
            if not form.id and len(key) <= MAX_KEY and all(part.size is not None for part in form.parts):
                self._forms.put(key, form)
        return form

    def known(self, text: memoryview) -> Form | None:
        """The form of a JSON part that has been read before; None where it would have to be read."""
        return self._forms.get(bytes(text)) if len(text) <= MAX_KEY else None

    def render(self, form: Form, outputs: list[Array]) -> tuple[int | None, list[bytes | memoryview]]:
        """The response: the length of its JSON part (None without binary data), and its pieces."""
        if form.classified:
            pairs = zip(form.outputs, outputs, strict=True)
            outputs = [
                classification.highest(array, wanted.classes) if wanted.classes else array for wanted, array in pairs
            ]
        data = [
            datatypes.to_bytes(wanted.datatype, array) if wanted.binary else None
            for wanted, array in zip(form.outputs, outputs, strict=True)
        ]
        binary = [piece for piece in data if piece is not None]
        if not form.all_binary:
            text = self._text(form, outputs, data)
            return (sum(map(len, text)) if binary else None), [*text, *binary]
        shapes = tuple([array.shape for array in outputs])
        known = form.heads.get(shapes)
        if known is None:
            known = self._response(form, outputs, data)
            form.heads.put(shapes, known)
        return len(known), [known, *binary]

    def weight(self, form: Form, outputs: list[Array]) -> int:
        """Bytes that `render` takes at most beside the outputs, without those of a block that are in work."""
        if form.all_binary:
            return 0
        found = 0
        for wanted, array in zip(form.outputs, outputs, strict=True):
            if wanted.classes:
                found += classification.weight(array, wanted.classes)
            elif wanted.datatype == "BYTES":
                found += json_data.strings_weight(array)
            elif not wanted.binary:
                found += json_data.MOST_TEXT[wanted.datatype] * array.size
        return found

    def metadata(self) -> bytes:
        """The answer to GET v2/models/NAME."""
        return descriptions.metadata(self._name, self._version, self.signature)

    def configuration(self) -> bytes:
        """The answer to GET v2/models/NAME/config."""
        return descriptions.configuration(self._name, self._version, self.signature)

    def _read(self, text: memoryview) -> Form:
        return forms.read(text, self.signature, max_tensors=self._max_tensors, max_depth=self._max_depth)

    def _text(self, form: Form, outputs: list[Array], data: list[memoryview | None]) -> list[bytes]:
        """The JSON part in pieces: elements as Python objects take ten times the tensor, a block at a time."""
        written = [
            (wanted, array) for wanted, array, piece in zip(form.outputs, outputs, data, strict=True) if piece is None
        ]
        if sum(array.size for _, array in written) <= datatypes.BLOCK:
            return [self._response(form, outputs, data)]
        empty = [array[:0] if array.ndim else array.reshape(1)[:0] for array in outputs]
        shapes = [array.shape for array in outputs]
        frame, *rest = self._response(form, empty, data, shapes).split(EMPTY)
        pieces = [frame]
        for (wanted, array), after in zip(written, rest, strict=True):
            pieces += (EMPTY[:-1], *json_data.texts(wanted.datatype, array), EMPTY[-1:] + after)
        return pieces

    def _response(
        self,
        form: Form,
        outputs: list[Array],
        data: list[memoryview | None],
        shapes: list[tuple[int, ...]] | None = None,
    ) -> bytes:
        tensors: list[dict[str, Any]] = []
        shapes = shapes or [array.shape for array in outputs]
        for wanted, array, piece, shape in zip(form.outputs, outputs, data, shapes, strict=True):
            tensor: dict[str, Any] = {"name": wanted.spec.name, "datatype": wanted.datatype, "shape": shape}
            if piece is None:
                tensor["data"] = datatypes.to_list(wanted.datatype, array)
            else:
                tensor["parameters"] = {"binary_data_size": len(piece)}
            tensors.append(tensor)
        message: dict[str, Any] = {"model_name": self._name, "model_version": self._version, "outputs": tensors}
        if form.id:
            message["id"] = form.id
        encoded = _ENCODER.encode(message)
        if not _has_null(encoded) or all(map(json_data.finite, outputs)):
            return encoded
        for tensor in tensors:
            if "data" in tensor and tensor["datatype"] in datatypes.FLOATS:
                tensor["data"] = json_data.written(tensor["data"])
        return _ENCODER.encode(message)


def _has_null(encoded: bytes) -> bool:
    """Whether there may be a null, which the encoder writes for a float that is none; none before the first data is.

    Numbers have no n: to look for one byte costs less than to look for four, and both less than to look at the floats.
    """
    first = encoded.find(b"n", encoded.find(b'"data":['))
    return first >= 0 and encoded.find(b"null", first) >= 0


def encoded(message: dict[str, Any]) -> bytes:
    """A message of few fields."""
    return _ENCODER.encode(message)


def feeds(form: Form, body: memoryview, header_length: int | None) -> dict[str, Array]:
    """The inputs of a request by name, from its form and the body that this was read from.

    Raises:
        InvalidInput: naming what is wrong with them.
    """
    binary = _NO_DATA if header_length is None else body[header_length:]
    tensors: dict[str, Array] = {}
    start = 0
    for part in form.parts:
        if part.size is None:
            tensors[part.name] = json_data.parse(part.datatype, part.shape, part.data, part.what)
            continue
        stop = start + part.size
        if stop > len(binary):
            raise InvalidInput(f"{part.what} takes bytes {start} to {stop} of the binary data, which has {len(binary)}")
        tensors[part.name] = datatypes.from_bytes(part.datatype, part.shape, binary[start:stop], part.name)
        start = stop
    if start != len(binary):
        raise InvalidInput(f"{len(binary) - start} bytes of binary data belong to no input")
    return tensors
