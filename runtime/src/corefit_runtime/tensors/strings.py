"""A value: how many copies of a request's strings a run may make.

`rows.strings` computes it, `dataplane.decoding` charges memory by it.
"""

from dataclasses import dataclass, field
from typing import Final


@dataclass(frozen=True)
class Strings:
    """What a run may make of strings.

    Attributes:
        copies: of the strings of each input, those that the engine holds from the start included.
        labels: strings that each row has in the outputs, which come of no input.
        repeated: an operator may give a string as often as numbers in a request say.
    """

    copies: dict[str, int] = field(default_factory=dict)
    labels: int = 0
    repeated: bool = False


NO_STRINGS: Final = Strings()
