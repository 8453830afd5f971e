"""Detects another writer of a workload's replicas (an HPA, `kubectl scale`) by values that Corefit did not write.

Without a warning the two would write in turns for ever. managedFields leave out writes of the scale subresource, which
both of these make. Undoes nothing, and does no I/O.
"""

import math
from typing import Final

import msgspec

from corefit_core.defaults import DOWN_STABILIZATION_S
from corefit_core.figures import figure
from corefit_core.spec.serving_spec import ServingSpec
from corefit_operator.kube.workloads import Child

SPOKEN_OF_S: Final = 60.0
"""Seconds that another's write is spoken of in a condition: an HPA writes again within 15 s."""
EVENT_S: Final = 600.0
"""Seconds between two Events about it."""

_AUTO: Final = (
    "Delete the autoscaler or script that does it. To scale by hand, set spec.scaling.mode of this "
    "InferenceService to Manual and spec.scaling.replicas to the number that you want, in one change."
)


class Contention(msgspec.Struct, kw_only=True):
    """What is remembered of one resource.

    Attributes:
        settled: which workload had which replicas, by our hand or with our consent; None when anybody's are right.
        seen_at: when it was seen last to have others.
        mode: `spec.scaling.mode` at that time: in another mode it is no longer spoken of.
        before: the replicas before the other's write.
        changed_back: whether Corefit has made them so again.
        announced_at: when the last Event about it was made.
    """

    settled: tuple[str, int] | None = None
    seen_at: float = -math.inf
    mode: str = ""
    before: int | None = None
    changed_back: bool = False
    announced_at: float = -math.inf

    def look(self, workload: Child | None, now: float, mode: str = "Auto") -> bool:
        """Whether somebody else has written lately."""
        if workload is not None and self.settled is not None:
            uid, replicas = self.settled
            if uid == workload.metadata.uid and replicas != workload.spec.replicas:
                self.seen_at, self.mode = now, mode
                self.before, self.changed_back = replicas, False
        return mode == self.mode and now - self.seen_at < SPOKEN_OF_S

    def announce(self, now: float) -> bool:
        """Whether an Event about it is due, which is then made."""
        due = now - self.announced_at >= EVENT_S
        if due:
            self.announced_at = now
        return due

    def doubt(self) -> None:
        """A write of ours is on its way: until it is answered nobody knows whose the replicas are that are seen."""
        self.settled = None

    def settle(self, workload: Child, replicas: int, *, ours: bool) -> None:
        """The workload has these replicas, and whether nobody else may change them."""
        self.settled = (workload.metadata.uid, replicas) if ours else None
        self.changed_back = self.changed_back or replicas == self.before


def message(spec: ServingSpec, workload: Child | None, *, changed_back: bool) -> str:
    """That somebody else changed the replicas, what becomes of them, and what to do about it."""
    changed = f"Something else changed the replicas of the {workload.kind if workload is not None else 'Deployment'}"
    mend = _manual(spec) if spec.mode == "Manual" else _AUTO
    if changed_back:
        return f"{changed}, and Corefit changed them back. {mend}"
    if spec.mode == "Manual":
        return f"{changed}. {mend}"
    window_s = spec.policy.down_window_s
    span = f"{figure(DOWN_STABILIZATION_S if window_s is None else window_s, 6)} s"
    if window_s is None:
        span += ", or two start-ups of a pod if that is longer"
    return f"{changed}. Corefit lets replicas go that the load does not need, within {span} at the latest. {mend}"


def _manual(spec: ServingSpec) -> str:
    return (
        f"Scale this InferenceService instead: kubectl scale cfis/{spec.name} --replicas=N, or an autoscaler "
        "whose scaleTargetRef names it."
    )
