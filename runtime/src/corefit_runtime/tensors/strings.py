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
        labels: strings of the model's own, or numbers as strings, that there may be for each row, in all tensors and
            in the answer.
        repeated: there may be as many strings as numbers in a request say.
    """

    copies: dict[str, int] = field(default_factory=dict)
    labels: int = 0
    repeated: bool = False


NO_STRINGS: Final = Strings()
