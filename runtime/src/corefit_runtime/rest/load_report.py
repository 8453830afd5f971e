"""The load report of a response, as Envoy's and gRPC's balancers read it: ORCA, `xds.data.orca.v3.OrcaLoadReport`.

A client requests it by a header, as with vLLM and Triton. May not measure.
"""

import base64
import struct
from collections.abc import Mapping
from typing import Final

import msgspec

from corefit_runtime.dataplane.load import Load

WISH: Final = b"endpoint-load-metrics-format"
"""The header of a request by which a client wants reports: TEXT, JSON or BIN."""
HEADER: Final = b"endpoint-load-metrics"
BINARY_HEADER: Final = b"endpoint-load-metrics-bin"
"""What gRPC and every version of Envoy read; newer ones take `BIN ...` in the other header as well."""
FORMATS: Final = (b"TEXT", b"JSON", b"BIN")
_DIGITS: Final = 4
_FIELDS: Final = {"cpu_utilization": 1, "rps_fractional": 6, "eps": 7, "application_utilization": 9}
"""Their numbers in the message; all are doubles."""
_NAMED: Final = 8
"""The number of `named_metrics`, a map from strings to doubles."""
_DOUBLE: Final = 1
_BYTES: Final = 2
"""Wire types of Protocol Buffers: eight bytes; a length and so many bytes."""


def wished(value: bytes) -> bytes:
    """The format that a client wants; empty where it wants none, or one that there isn't."""
    wish = value.strip().upper()
    return wish if wish in FORMATS else b""


def header(load: Load, form: bytes) -> tuple[bytes, bytes]:
    """The header of the response, in one of `FORMATS`."""
    if form == b"BIN":
        return BINARY_HEADER, base64.b64encode(_message(load))
    if form == b"JSON":
        return HEADER, b"JSON " + msgspec.json.encode({**_fields(load), "named_metrics": _named(load)})
    named = {f"named_metrics.{name}": value for name, value in _named(load).items()}
    pairs = ",".join(f"{name}={value}" for name, value in {**_fields(load), **named}.items())
    return HEADER, f"TEXT {pairs}".encode()


def _fields(load: Load) -> Mapping[str, float]:
    found = {
        "cpu_utilization": load.cpu_utilization,
        "application_utilization": load.utilization,
        "rps_fractional": load.requests,
        "eps": load.errors,
    }
    return {name: round(value, _DIGITS) for name, value in found.items()}


def _named(load: Load) -> Mapping[str, float]:
    """By vLLM's names, which balancers know."""
    return {"num_requests_waiting": float(load.waiting), "num_requests_running": float(load.running)}


def _message(load: Load) -> bytes:
    fields = b"".join(_double(_FIELDS[name], value) for name, value in _fields(load).items())
    return fields + b"".join(_bytes(_NAMED, _entry(name, value)) for name, value in _named(load).items())


def _entry(name: str, value: float) -> bytes:
    return _bytes(1, name.encode()) + _double(2, value)


def _double(number: int, value: float) -> bytes:
    return bytes((number << 3 | _DOUBLE,)) + struct.pack("<d", value)


def _bytes(number: int, value: bytes) -> bytes:
    return bytes((number << 3 | _BYTES, len(value))) + value
