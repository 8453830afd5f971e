"""What the headers of an inference request say: worked out once for equal heads."""

from dataclasses import dataclass
from typing import Final

from corefit_core.errors import InvalidInput
from corefit_runtime.http.messages import Head
from corefit_runtime.rest import load_report

HEADER_LENGTH: Final = b"inference-header-content-length"
TIMEOUT_HEADERS: Final = (b"corefit-timeout-ms", b"x-envoy-expected-rq-timeout-ms")
"""Ours, and the one by which Envoy and Istio tell how long the client's route allows."""


@dataclass(frozen=True, slots=True)
class InferenceHeaders:
    """What the headers of an inference request say.

    Attributes:
        json_length: bytes of the JSON part, None when all of the body is.
        encoding: of the body.
        accepts: encodings that the client takes.
        timeout_s: how long the client waits; 0: it doesn't say.
        load_format: in which it wants a report of the load; empty: it wants none.
    """

    json_length: int | None
    encoding: bytes
    accepts: bytes
    timeout_s: float
    load_format: bytes


def headers_of(head: Head) -> InferenceHeaders:
    """What this head says, worked out once for equal heads: they share a `Head`.

    Raises:
        InvalidInput: a header that should be a number is none.
    """
    known = head.decoded
    if isinstance(known, InferenceHeaders):
        return known
    headers = head.headers
    decoded = head.decoded = InferenceHeaders(
        json_length=_header_length(headers),
        encoding=headers.get(b"content-encoding", b""),
        accepts=headers.get(b"accept-encoding", b""),
        timeout_s=_header_timeout_s(headers),
        load_format=load_report.wished(headers.get(load_report.WISH, b"")),
    )
    return decoded


def _header_length(headers: dict[bytes, bytes]) -> int | None:
    value = headers.get(HEADER_LENGTH)
    if value is None:
        return None
    if not value.isdigit() or len(value) > 15:
        raise InvalidInput("Inference-Header-Content-Length is not a number of bytes")
    return int(value)


def _header_timeout_s(headers: dict[bytes, bytes]) -> float:
    for name in TIMEOUT_HEADERS:
        value = headers.get(name)
        if value is not None:
            if not value.isdigit() or len(value) > 12:
                raise InvalidInput(f"{name.decode()} is not a number of milliseconds")
            return int(value) / 1000
    return 0.0
