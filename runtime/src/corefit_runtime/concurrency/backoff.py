"""How long to wait between tries of what may work later. May not wait itself."""

from collections.abc import Iterator
from typing import Final

FIRST_S: Final = 1.0
LAST_S: Final = 30.0


def delays() -> Iterator[float]:
    """Seconds: 1, and twice as long after each try, up to 30."""
    delay = FIRST_S
    while True:
        yield delay
        delay = min(LAST_S, 2 * delay)
