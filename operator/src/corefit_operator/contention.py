"""Whether somebody else writes a workload's replicas too: unseen, the two would write in turns for ever.

Told by the values alone. managedFields don't know: writes of a scale subresource, which is what an HPA and
`kubectl scale` make, aren't accounted there. May not do I/O.
"""

import math
from typing import Final

import msgspec

from corefit_operator.objects import Child

SPOKEN_OF_S: Final = 600.0
"""Seconds that another's write is spoken of: an HPA writes every 15 s, a person looks later."""


class Contention(msgspec.Struct, kw_only=True):
    """What is remembered of one resource.

    Attributes:
        settled: which workload had which replicas, by our hand or with our consent; None when anybody's are right.
        seen_at: when it was seen last to have others.
    """

    settled: tuple[str, int] | None = None
    seen_at: float = -math.inf

    def look(self, workload: Child | None, now: float) -> bool:
        """Whether somebody else has written lately."""
        if workload is not None and self.settled is not None:
            uid, replicas = self.settled
            if uid == workload.metadata.uid and replicas != workload.spec.replicas:
                self.seen_at = now
        return now - self.seen_at < SPOKEN_OF_S

    def doubt(self) -> None:
        """A write of ours is on its way: until it is answered nobody knows whose the replicas are that are seen."""
        self.settled = None

    def settle(self, workload: Child, replicas: int, *, ours: bool) -> None:
        """The workload has these replicas, and whether nobody else may change them."""
        self.settled = (workload.metadata.uid, replicas) if ours else None
