"""Whether the demo showed what it says it shows. Pure: from what was seen to a list of checks."""

from collections.abc import Sequence

import msgspec

from corefit.demo.predictions import Accuracy
from corefit.demo.timeline import Point, ServiceView, ready_at
from corefit.load import Summary


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that had to be so, whether it was, and the figures."""

    what: str
    passed: bool
    detail: str


def verdict(
    accuracy: Accuracy, load: Summary, points: Sequence[Point], peak_from_s: float, back_from_s: float
) -> list[Check]:
    """All checks; the demo succeeds when all have passed. Shed requests are counted, and are no failure.

    Pods that came before `peak_from_s`, when the load rose, did not come for it. A pod that went before `back_from_s`,
    when the load fell, was one too many, and shows nothing.
    """
    return [_predictions(accuracy), _lost(load), _rose(points, peak_from_s), _fell(points, back_from_s)]


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


def _rose(points: Sequence[Point], since_s: float) -> Check:
    before = ready_at(points, since_s)
    higher = [point for point in points if point.at_s >= since_s and point.service.ready > before]
    most = max((point.service.ready for point in higher), default=before)
    passed = bool(higher) and before > 0
    after = f", the first {higher[0].at_s - since_s:.0f} s after the load rose" if higher else ""
    return Check(what="replicas rose", passed=passed, detail=f"from {before} to {most} ready{after}")


def _fell(points: Sequence[Point], since_s: float) -> Check:
    before = ready_at(points, since_s)
    later = [point for point in points if point.at_s >= since_s]
    last = later[-1].service if later else ServiceView()
    if 0 < last.ready < before:
        first = next(point for point in later if point.service.ready < before)
        how = f"from {before} to {last.ready} ready, {first.at_s - since_s:.0f} s after the load fell"
        return Check(what="replicas fell", passed=True, detail=how)
    seconds = later[-1].at_s - since_s if later else 0.0
    why = f"; the last decision: {last.reason}: {last.message}" if last.reason else ""
    still = f"{last.ready} ready {seconds:.0f} s after the load fell, {before} when it fell{why}"
    return Check(what="replicas fell", passed=False, detail=still)
