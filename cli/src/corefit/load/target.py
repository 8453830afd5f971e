"""What is sent: Open Inference Protocol requests, given or made up from the model's own metadata.

May not decide when anything is sent.
"""

import json
import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final

import aiohttp
import msgspec

from corefit_core.errors import InvalidInput

INFER_SUFFIX: Final = "/infer"


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """One POST, made once and sent many times.

    Attributes:
        body: the bytes.
        headers: beside those that HTTP itself needs.
        wrong: says what is wrong with the body of a success, or None; without it every success will do.
    """

    body: bytes
    headers: Mapping[str, str] = MappingProxyType({"Content-Type": "application/json"})
    wrong: Callable[[bytes], str | None] | None = None


class _Tensor(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    datatype: str
    shape: list[int]


class _Metadata(msgspec.Struct, frozen=True, kw_only=True):
    inputs: list[_Tensor]


def json_request(payload: Any, *, wrong: Callable[[bytes], str | None] | None = None) -> Request:
    """A request of a JSON document."""
    return Request(body=json.dumps(payload, separators=(",", ":")).encode(), wrong=wrong)


async def zeros_request(session: aiohttp.ClientSession, infer_url: str, *, rows: int = 1) -> Request:
    """A request of zeros in the shapes that the model's metadata names, `rows` where a dimension is free.

    Raises:
        InvalidInput: the URL isn't that of an inference, or what stands before `/infer` has no metadata.
    """
    if not infer_url.endswith(INFER_SUFFIX):
        raise InvalidInput(f"{infer_url} does not end in {INFER_SUFFIX}: give the body with --body")
    metadata_url = infer_url.removesuffix(INFER_SUFFIX)
    try:
        async with session.get(metadata_url) as response:
            if not response.ok:
                status = f"{response.status} {response.reason}"
                raise InvalidInput(f"no model metadata at {metadata_url}: {status}; check the model's name")
            metadata = msgspec.json.decode(await response.read(), type=_Metadata)
    except (aiohttp.ClientError, TimeoutError, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidInput(f"no model metadata at {metadata_url} ({type(error).__name__}: {error})") from error
    return json_request({"inputs": [_zeros(tensor, rows) for tensor in metadata.inputs]})


def _zeros(tensor: _Tensor, rows: int) -> dict[str, Any]:
    shape = [rows if size < 0 else size for size in tensor.shape]
    zero: Any = {"BYTES": "", "BOOL": False}.get(tensor.datatype, 0)
    return {"name": tensor.name, "datatype": tensor.datatype, "shape": shape, "data": [zero] * math.prod(shape)}
