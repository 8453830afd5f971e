"""Whether the demo showed what it says it shows. Pure: from what was seen to a list of checks."""

from collections.abc import Sequence

import msgspec

from corefit.demo.predictions import Accuracy
from corefit.demo.timeline import Point, ready_at
from corefit.load import Summary


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that had to be so, whether it was, and the figures."""

    what: str
    passed: bool
    detail: str


def verdict(accuracy: Accuracy, load: Summary, points: Sequence[Point], back_from_s: float) -> list[Check]:
    """All checks; the demo succeeds when all have passed. Shed requests are counted, and are no failure.

    `back_from_s` is when the load fell: a pod that went before was one too many, and shows nothing.
    """
    return [_predictions(accuracy), _lost(load), *_replicas(points, back_from_s)]


def _predictions(seen: Accuracy) -> Check:
    return Check(
        what="predictions right",
        passed=seen.rows > 0 and seen.as_predicted == seen.rows,
        detail=f"{seen.as_predicted} of {seen.rows} as the model itself says; {seen.as_labelled} as labelled",
    )


def _lost(load: Summary) -> Check:
    causes = "; ".join(f"{count} x {cause}" for cause, count in load.details.items())
    counts = f"{load.ok} answered, {load.shed} refused with 503 and Retry-After, {load.lost} lost"
    return Check(
        what="no request lost",
        passed=load.ok > 0 and load.lost == 0,
        detail=f"{counts}: {causes}" if causes else counts,
    )


def _replicas(points: Sequence[Point], back_from_s: float) -> list[Check]:
    ready = [point.service.ready for point in points] or [0]
    most, before = max(ready), ready_at(points, back_from_s)
    return [
        Check(what="replicas rose", passed=most > ready[0] > 0, detail=f"from {ready[0]} to {most} ready"),
        Check(
            what="replicas fell",
            passed=0 < ready[-1] < before,
            detail=f"from {before} when the load fell to {ready[-1]}",
        ),
    ]
