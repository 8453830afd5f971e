"""Kubernetes resource quantities as integers: CPU in millicores, memory in bytes.

Strings exist only at the rim; everything inside counts in integers. May not do I/O.
Source: k8s.io/apimachinery/pkg/api/resource (the serialisation format in `Quantity`'s comment).
"""

import re
from decimal import ROUND_CEILING, Decimal
from typing import Final

from corefit_core.errors import InvalidInput

_FORM: Final = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+))(?:([eE][+-]?\d{1,3})|([KMGTPE]i|[numkMGTPE]))?", re.ASCII)
_FACTORS: Final = {
    "n": Decimal("1e-9"),
    "u": Decimal("1e-6"),
    "m": Decimal("1e-3"),
    "": Decimal(1),
    "k": Decimal(10**3),
    "M": Decimal(10**6),
    "G": Decimal(10**9),
    "T": Decimal(10**12),
    "P": Decimal(10**15),
    "E": Decimal(10**18),
    "Ki": Decimal(2**10),
    "Mi": Decimal(2**20),
    "Gi": Decimal(2**30),
    "Ti": Decimal(2**40),
    "Pi": Decimal(2**50),
    "Ei": Decimal(2**60),
}
MAX_UNITS: Final = 2**63 - 1
"""Kubernetes caps a quantity at an int64; so do we, in the unit asked for."""
MOST_MILLICORES: Final = 2**31 - 1
"""Two million cores: more than any node has, and few enough to be added up."""


def parse_millicores(text: str | float) -> int:
    """CPU in millicores: `"250m"` is 250, `"1.5"` and `1.5` are 1500. Rounded up, as the API server does.

    Raises:
        InvalidInput: not a quantity, negative, or over an int64.
    """
    return _scaled(text, 1000)


def bounded_millicores(text: str | float) -> int:
    """CPU in millicores of a quantity that others wrote: one that is larger than `MOST_MILLICORES` counts as that.

    Raises:
        InvalidInput: not a quantity, or negative.
    """
    return _whole(min(Decimal(MOST_MILLICORES), _value(text, 1000)))


def parse_bytes(text: str | float) -> int:
    """Memory in bytes: `"1Gi"` is 1073741824. Rounded up to a whole byte.

    Raises:
        InvalidInput: not a quantity, negative, or over an int64.
    """
    return _scaled(text, 1)


def bounded_bytes(text: str | float) -> int:
    """Memory in bytes of a quantity that others wrote: one that is larger than `MAX_UNITS` counts as that.

    Raises:
        InvalidInput: not a quantity, or negative.
    """
    return _whole(min(Decimal(MAX_UNITS), _value(text, 1)))


def format_millicores(millicores: int) -> str:
    """The canonical form: whole cores without a suffix, the rest in `m`."""
    return str(millicores // 1000) if millicores % 1000 == 0 else f"{millicores}m"


def format_bytes(count: int) -> str:
    """The canonical form: the largest binary suffix that keeps it a whole number."""
    for suffix in ("Ei", "Pi", "Ti", "Gi", "Mi", "Ki"):
        factor = int(_FACTORS[suffix])
        if count and count % factor == 0:
            return f"{count // factor}{suffix}"
    return str(count)


def _scaled(text: str | float, units: int) -> int:
    value = _value(text, units)
    if value > MAX_UNITS:
        raise InvalidInput(f"{text!r} is larger than Kubernetes can hold")
    return _whole(value)


def _whole(value: Decimal) -> int:
    return int(value.to_integral_value(ROUND_CEILING))


def _value(text: str | float, units: int) -> Decimal:
    match = _FORM.fullmatch(str(text).strip())
    if match is None:
        raise InvalidInput(f"{text!r} is not a quantity: a number with a suffix such as 250m, 2, 512Mi or 1Gi")
    number, exponent, suffix = match.groups()
    value = Decimal(number + (exponent or "")) * _FACTORS[suffix or ""] * units
    if value < 0:
        raise InvalidInput(f"{text!r} is negative")
    return value
