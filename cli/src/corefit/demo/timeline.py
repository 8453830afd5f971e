"""What was seen, second by second: the load, the replicas, the latency, the decisions. Pure values."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from corefit.load import Kind, Recorder
from corefit.load.record import summarize

WINDOW_S = 5.0
"""The live p50 and p99 are those of the last 5 s: 40 requests at the base rate, enough to see a change."""


class ServiceView(msgspec.Struct, frozen=True, kw_only=True):
    """What the resource's status says.

    Attributes:
        wanted: replicas that the Deployment is to have.
        pods: replicas there are, ready or not: what is paid for.
        ready: those that serve.
        cpu: of each pod, as the operator writes it; empty where it never changes in place.
        cost: an hour, as the operator writes it.
        decided_at: when replicas were last changed; empty before that.
        reason, message: of that decision.
    """

    wanted: int = 0
    pods: int = 0
    ready: int = 0
    cpu: str = ""
    cost: str = ""
    decided_at: str = ""
    reason: str = ""
    message: str = ""


class Point(msgspec.Struct, frozen=True, kw_only=True):
    """One second of the run."""

    at_s: float
    rate: float
    in_flight: int
    service: ServiceView
    p50_s: float | None
    p99_s: float | None
    shed: int
    lost: int


class Decided(msgspec.Struct, frozen=True, kw_only=True):
    """A change of replicas, when it was seen."""

    at_s: float
    replicas: int
    reason: str
    message: str


def view_of(resource: Mapping[str, Any]) -> ServiceView:
    """The status of an InferenceService; zeros for what isn't there yet."""
    status = resource.get("status", {})
    decision = status.get("lastDecision", {})
    return ServiceView(
        wanted=status.get("desiredReplicas", 0),
        pods=status.get("replicas", 0),
        ready=status.get("readyReplicas", 0),
        cpu=status.get("cpu", {}).get("granted", ""),
        cost=status.get("costPerHour", ""),
        decided_at=decision.get("time", ""),
        reason=decision.get("reason", ""),
        message=decision.get("message", ""),
    )


def point(at_s: float, rate: float, recorder: Recorder, service: ServiceView) -> Point:
    """What there is to see now."""
    recent = summarize(recorder.ended_since(at_s - WINDOW_S))
    return Point(
        at_s=at_s,
        rate=rate,
        in_flight=recorder.in_flight,
        service=service,
        p50_s=recent.p50_s,
        p99_s=recent.p99_s,
        shed=sum(sample.kind is Kind.SHED for sample in recorder),
        lost=sum(sample.kind in {Kind.ERROR, Kind.WRONG} for sample in recorder),
    )


def ready_at(points: Sequence[Point], at_s: float) -> int:
    """The replicas that served at a time; 0 before the first point."""
    return next((point.service.ready for point in reversed(points) if point.at_s <= at_s), 0)


class Timeline:
    """The points and decisions of a run, in order."""

    def __init__(self) -> None:
        self.points: list[Point] = []
        self.decisions: list[Decided] = []
        self.service = ServiceView()

    def see(self, service: ServiceView, at_s: float) -> Decided | None:
        """Take in a status; returns the decision when it is a new one."""
        before, self.service = self.service, service
        if not before.wanted or before.wanted == service.wanted:
            return None
        made = Decided(at_s=at_s, replicas=service.wanted, reason=service.reason, message=service.message)
        self.decisions.append(made)
        return made

    def has_fallen(self, since_s: float, for_s: float) -> bool:
        """Whether fewer replicas serve than at `since_s`, and have been as wanted for the last `for_s`."""
        if not self.points or self.points[-1].at_s < since_s + for_s:
            return False
        before = ready_at(self.points, since_s)
        lately = [point.service for point in self.points if point.at_s >= self.points[-1].at_s - for_s]
        return all(0 < seen.ready < before and seen.pods == seen.ready == seen.wanted for seen in lately)
