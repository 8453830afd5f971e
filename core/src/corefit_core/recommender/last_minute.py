"""The requests of the last minute: how many there were, how many missed the objective, how long the answers took.

They count by their age: what is older than a minute counts nothing, however few requests have come since. Owns
`Slot`. May not decide anything.
"""

from itertools import zip_longest
from typing import Final

import msgspec

from corefit_core.histogram import Histogram
from corefit_core.recommender import spans
from corefit_core.recommender.measurement import Measured

SLOT_S: Final = 10.0
"""Requests are forgotten a slot at a time. Six slots keep the state small, and the last five are always there."""


class Slot(msgspec.Struct, frozen=True, kw_only=True):
    """The requests of some rounds.

    Attributes:
        begin: time of the first of these rounds, seconds.
        requests: that were answered, refused or lost.
        missed: those of them that missed the objective.
        unwaited: those of them that were late although they had not waited.
        latencies: total times in the report's buckets, of some of the pods.
    """

    begin: float
    requests: float = 0.0
    missed: float = 0.0
    unwaited: float = 0.0
    latencies: tuple[int, ...] = ()


def with_round(before: tuple[Slot, ...], measured: Measured, unwaited: float, now: float) -> tuple[Slot, ...]:
    """The slots with this round's requests, without those in which a request may be older than a minute.

    Args:
        before: the slots of the round before.
        measured: this round.
        unwaited: answers of it that were late although they had not waited.
        now: seconds.
    """
    kept = [slot for slot in before if slot.begin > now - spans.SLOW_S]
    slot = kept.pop() if kept and now < kept[-1].begin + SLOT_S else Slot(begin=now)
    delta = measured.delta
    return (
        *kept,
        Slot(
            begin=slot.begin,
            requests=slot.requests + delta.answered + delta.turned_away,
            missed=slot.missed + delta.late + delta.turned_away,
            unwaited=slot.unwaited + unwaited,
            latencies=_summed(slot.latencies, measured.total),
        ),
    )


def requests(slots: tuple[Slot, ...]) -> int:
    """How many requests the last minute had."""
    return round(sum([slot.requests for slot in slots]))


def missed(slots: tuple[Slot, ...]) -> float | None:
    """The share of them that missed the objective; None where there were none."""
    count = sum([slot.requests for slot in slots])
    return sum([slot.missed for slot in slots]) / count if count > 0 else None


def unwaited(slots: tuple[Slot, ...]) -> float:
    """The share of them that were late although they had not waited."""
    count = sum([slot.requests for slot in slots])
    return sum([slot.unwaited for slot in slots]) / count if count > 0 else 0.0


def latency_s(slots: tuple[Slot, ...], percentile: float) -> float | None:
    """The percentile of the total times, seconds; None where nothing was answered."""
    counts: tuple[int, ...] = ()
    for slot in slots:
        counts = _summed(counts, slot.latencies)
    return Histogram(counts=counts).quantile_s(percentile / 100)


def _summed(some: tuple[int, ...], others: tuple[int, ...]) -> tuple[int, ...]:
    return tuple([a + b for a, b in zip_longest(some, others, fillvalue=0)])
