"""Pods without idle time: their work is all that they can do, not all that is wanted of them.

Clients that wait for an answer before they send the next request (a closed loop) are never refused and never late by
much: whatever pods there are, they fill them. So one more replica is tried. If more is then done, the load was larger,
and the next round knows it; if not, the replica goes, and the trial is not repeated while the load stays as it is.
May not know what is done with a trial.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

import msgspec

from corefit_core.recommender import predictors, spans
from corefit_core.recommender.measurement import Measured
from corefit_core.recommender.predictors import Sample
from corefit_core.recommender.types import Observation, Policy

FULL: Final = 0.95
"""Busy workers over those that are there: above it pods do what they can, and show no load beyond that."""
LEAST_ROUNDS: Final = 3
"""As many rounds, and `spans.FAST_S`, tell a pod that is full from one that is busy for a moment."""
MORE: Final = 1.1
"""Times the work of the last trial: pods that do no more than that have been tried at that load already."""
AGAIN_S: Final = 7200.0
"""After two hours other clients may wait: the trial costs one pod for a start-up and a window."""
IDLE_WORKERS: Final = 0.5
"""Workers without work, on average, of pods that are full. Many workers behind one queue are 97 % busy and keep nobody
waiting, while clients in a closed loop leave none idle whatever their number."""


class Work(msgspec.Struct, frozen=True):
    """The work of pods with idle time before some of them went: when, and in Erlangs. It was all of the load."""

    at: float
    erlangs: float


class Trial(msgspec.Struct, frozen=True):
    """One replica more for pods that have no idle time: when, their work then in Erlangs, and how many it makes."""

    at: float
    erlangs: float
    replicas: int


class There(NamedTuple):
    """What is there in this round."""

    samples: Sequence[Sample]
    seen: Observation
    measured: Measured

    @property
    def now(self) -> float:
        """Of the last sample, seconds."""
        return self.samples[-1].at

    @property
    def work(self) -> float:
        """The mean of the last seconds, Erlangs."""
        return predictors.mean(self.samples, self.now, spans.FAST_S)

    def busy(self, sample: Sample) -> bool:
        """Whether the pods had no idle time at that load."""
        capacity = self.measured.capacity
        return sample.erlangs >= max(FULL * capacity, capacity - IDLE_WORKERS)


def full(there: There) -> bool:
    """Whether all replicas are ready and have had no idle time lately."""
    samples, seen, measured = there
    now = there.now
    recent = [s for s in samples if s.at > now - spans.FAST_S]
    all_there = 0 < measured.ready == seen.replicas and not measured.missing
    enough = len(recent) >= LEAST_ROUNDS and recent[0].at < now - spans.FAST_S / 2
    return all_there and enough and all(map(there.busy, recent))


def tried(policy: Policy, last: Trial | None, fell: Work | None, there: There, needed: int) -> Trial | None:
    """The last trial, or a new one where full pods are all that the known load needs.

    What more pods did before they went is as good as a trial.
    """
    now, work, replicas = there.now, there.work, there.seen.replicas
    if needed > replicas or replicas >= policy.max_replicas or not full(there):
        return last
    if any(each is not None and now - each.at < AGAIN_S and work < MORE * each.erlangs for each in (last, fell)):
        return last
    return Trial(now, work, replicas + 1)


def fallen(before: Work | None, there: There, replicas: int) -> Work | None:
    """The work of the pods before some of them went, as long as those that stay have had no idle time since.

    Once they have had some, whatever fills them is other load. Reports of the moment of the fall are of before and
    after it: they do not tell.

    Args:
        before: what was known up to the last round.
        there: this round.
        replicas: that are decided.
    """
    if there.busy(there.samples[-1]):
        return before
    if replicas < there.seen.replicas:
        return Work(there.now, there.work)
    return before if before is not None and there.now - before.at < spans.FAST_S else None


def goes_on(trial: Trial | None, there: There, horizon_s: float) -> bool:
    """Whether the replica of a trial has not yet had the time to come and to show what it does.

    A trial ends early where the work falls below the one that it began with: the pods of before have idle time then.
    """
    if trial is None or there.now - trial.at >= horizon_s + spans.FAST_S:
        return False
    return MORE * predictors.fallen_to(there.samples) >= trial.erlangs
