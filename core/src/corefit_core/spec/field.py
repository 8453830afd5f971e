"""Reads one field, so that what is wrong with it names the field. May not do I/O."""

from collections.abc import Callable
from typing import Any, TypeVar

from corefit_core.errors import InvalidInput

T = TypeVar("T")


def field(path: str, parse: Callable[[Any], T], value: object) -> T:
    """The value, read.

    Raises:
        InvalidInput: it can't be read; the message begins with the path of the field.
    """
    try:
        return parse(value)
    except (InvalidInput, ValueError) as error:
        raise InvalidInput(f"{path}: {error}") from error
