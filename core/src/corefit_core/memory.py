"""How a pod divides the memory that its loaded model leaves among runs, their answers and bodies. Pure."""

from typing import Final

import msgspec

LEAST_RUNS: Final = 16 << 20
"""Bytes that runs may allocate in any case: a pod that is nearly full still answers small requests."""
LEAST_BODIES: Final = 1 << 20
"""Bytes that bodies may hold in any case, or no request could be read at all."""
STRINGS: Final = 24
"""The part of runs, a 24th, where strings may be repeated: the 32 bytes that a string takes of it stand for up to 350
elsewhere, in the engine (its characters) and then as an object. Half of the memory, where each has 128 characters."""
LEAST_STRINGS: Final = 2 << 20
PARTS: Final = 3
"""Runs, the outputs that they copy, and bodies get one part each. A run's outputs are never larger than what the run
allocates, and they are copied before the run lets go of them."""
LARGE: Final = 0.75
"""The part of runs where one row of the model takes more than a third. Its outputs are then much smaller than what it
allocates, as in every network that ends in classes or an embedding."""


class Shares(msgspec.Struct, frozen=True, kw_only=True):
    """Bytes for each purpose.

    Attributes:
        runs: what all runs of the model together may allocate.
        outputs: what large outputs together may hold, from the end of a run until their clients have read them.
        bodies: what requests, what is made of them, and answers in JSON together may hold.
    """

    runs: int
    outputs: int
    bodies: int


def shares(limit: int, base: int, *, large_rows: bool = False, repeated_strings: bool = False) -> Shares:
    """The shares of a pod.

    Args:
        limit: bytes that the container may use.
        base: bytes that the process takes with its model loaded, before the first run.
        large_rows: whether one row of the model takes more than a third of the rest.
        repeated_strings: whether a run may make as many strings as a request says.
    """
    free = max(0, limit - base)
    runs = int(free * LARGE) if large_rows else free // PARTS
    rest = max(LEAST_BODIES, (free - runs) // 2)
    if repeated_strings:
        return Shares(runs=max(LEAST_STRINGS, free // STRINGS), outputs=rest, bodies=rest)
    return Shares(runs=max(LEAST_RUNS, runs), outputs=rest, bodies=rest)


def cut_to(elements: int) -> int:
    """The elements that a run may have after one of so many has found no memory: half of them, and one at least."""
    return max(1, elements // 2)
