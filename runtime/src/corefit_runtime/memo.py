"""A bounded cache of what was worked out for a key that comes again and again."""

from collections.abc import Hashable
from typing import Final, Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")
MAX_KEY: Final = 4096
"""Bytes of a key that it is worth while to keep: larger ones come from clients whose requests differ anyway."""


class Memo(Generic[K, V]):
    """Emptied when full: whoever sends ever new keys pays no more than without it, and fills no memory.

    Its operations are single ones on a dict, so that threads may share it.
    """

    __slots__ = ("_entries", "_values", "get")

    def __init__(self, entries: int) -> None:
        self._entries = entries
        self._values: dict[K, V] = {}
        self.get = self._values.get

    def put(self, key: K, value: V) -> None:
        """Keeps the value."""
        if key not in self._values and len(self._values) >= self._entries:
            self._values.clear()
        self._values[key] = value
