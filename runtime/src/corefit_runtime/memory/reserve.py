"""What of a memory that all share is left to those who take little of it. Imports nothing."""

from typing import Final

MEDIUM: Final = 1 << 20
RESERVED: Final = 16
"""Whoever takes more than 1 MiB leaves a sixteenth to those who take less: a few large bodies that don't come, or
answers that nobody reads, keep no small request out."""


def room(limit: int, count: int) -> int:
    """Bytes of the `limit` that all share which may be taken when one of them has taken `count`."""
    return limit - limit // RESERVED if count > MEDIUM else limit


def largest(limit: int) -> int:
    """Bytes that one alone may take of the `limit` that all share."""
    return max(min(limit, MEDIUM), room(limit, MEDIUM + 1))
