"""The one model that a pool runs: its session, whether its rows are independent, and what its runs have shown.

A pool's limits and run times hold for one model only.
"""

from typing import TYPE_CHECKING, Final

from corefit_core.memory import cut_to
from corefit_runtime.engine.types import Engine
from corefit_runtime.tensors.strings import NO_STRINGS, Strings

if TYPE_CHECKING:
    from collections.abc import Callable

CHECKED_FIRST: Final = 16
CHECKED_AT_FIRST: Final = 8
CHECKED_EVERY: Final = 64
"""Of each of the first 16 runs that are shared by requests, or that are of a part of one, up to 8 requests or rows are
run again, alone; then, of each 64th run, one. That is 1.6 % of the runs, and less of the time, since a batch takes
longer than the request that is run again."""
GROWN_AFTER: Final = 256
"""Runs that find memory, until they may be twice as large: if that is too much, one of so many is run again."""


class Model:
    """The model that jobs run on; `engine` is exchanged when the plan changes, and a reload makes a new Model.

    Args:
        bounded: whether the length of a run depends on the sizes of its inputs alone (`rows.analysis`).
        strings: what a run may make of strings (`rows.strings`).

    Attributes:
        engine: the session that runs use from now on.
        rows_independent: whether requests may be cut and joined along the leading dimension.
        contradiction: what showed that they may not, after all; empty while nothing has.
        shared_runs: made for several requests at once, or for a part of one.
        most_elements: of the inputs of a run, since one of twice as many found no memory; 0 while none has.
        on_contradiction: called once, on a worker's thread, with what showed it.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        name: str,
        version: str,
        sha256: str,
        bounded: bool = False,
        strings: Strings = NO_STRINGS,
    ) -> None:
        self.engine = engine
        self.name = name
        self.version = version
        self.sha256 = sha256
        self.bounded = bounded
        self.strings = strings
        self.rows_independent = False
        self.contradiction = ""
        self.on_contradiction: Callable[[str], None] = lambda _: None
        self.shared_runs = 0
        self.most_elements = 0
        self._fitting = 0

    def lacked_memory(self, elements: int) -> None:
        """A run of so many input elements has found no memory: from now on runs are cut to half as many."""
        cut = cut_to(elements)
        self.most_elements, self._fitting = min(self.most_elements or cut, cut), 0

    def had_memory(self) -> None:
        """A run has found memory: after many of them, runs may be twice as large again."""
        if self.most_elements:
            self._fitting += 1
            if self._fitting >= GROWN_AFTER:
                self.most_elements, self._fitting = 2 * self.most_elements, 0

    def checks_due(self) -> int:
        """How much of the run that was just made of several requests, or of a part of one, is to be run again."""
        # Two workers may count one run for two: a check more or less.
        self.shared_runs += 1
        if self.shared_runs <= CHECKED_FIRST:
            return CHECKED_AT_FIRST
        return 1 if self.shared_runs % CHECKED_EVERY == 0 else 0

    def allow_sharing(self, independent: bool) -> None:
        """Lets requests be cut and joined, unless an answer has shown that they may not be."""
        self.rows_independent = independent
        if self.contradiction:  # Looked at last: a worker may find it at this moment.
            self.rows_independent = False

    def contradicted(self, what: str) -> None:
        """From now on no request is cut or joined."""
        first, self.contradiction = not self.contradiction, self.contradiction or what
        self.rows_independent = False
        if first:
            self.on_contradiction(what)
