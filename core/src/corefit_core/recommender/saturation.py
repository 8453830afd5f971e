"""Pods without idle time: their work is all that they can do, not all that is wanted of them.

Clients that wait for an answer before they send the next request (a closed loop) are never refused and never late by
much: whatever pods there are, they fill them. So one more replica is tried. If more is then done, the load was larger,
and the next round knows it; if not, the replica goes, and the trial is not repeated while the load stays as it is.
May not know what is done with a trial.
"""

from collections.abc import Sequence
from typing import Final

import msgspec

from corefit_core.recommender import predictors, slo
from corefit_core.recommender.measurement import Measured
from corefit_core.recommender.predictors import Sample
from corefit_core.recommender.types import Observation, Policy

LEAST_ROUNDS: Final = 3
"""As many rounds, and `predictors.FAST_S`, tell a pod that is full from one that is busy for a moment."""
MORE: Final = 1.1
"""Times the work of the last trial: pods that do no more than that have been tried at that load already."""
AGAIN_S: Final = 7200.0
"""After two hours other clients may wait: the trial costs one pod for a start-up and a window."""
IDLE_WORKERS: Final = 0.5
"""Workers without work, on average, of pods that are full. Many workers behind one queue are 97 % busy and keep nobody
waiting, while clients in a closed loop leave none idle whatever their number."""


class Trial(msgspec.Struct, frozen=True):
    """One replica more for pods that have no idle time: when, their work then in Erlangs, and how many it makes."""

    at: float
    erlangs: float
    replicas: int


def full(samples: Sequence[Sample], seen: Observation, measured: Measured) -> bool:
    """Whether all replicas are ready and have had no idle time lately."""
    now = samples[-1].at
    recent = [s for s in samples if s.at > now - predictors.FAST_S]
    all_there = 0 < measured.ready == seen.replicas and not measured.missing
    enough = len(recent) >= LEAST_ROUNDS and recent[0].at < now - predictors.FAST_S / 2
    least = max(slo.FULL * measured.capacity, measured.capacity - IDLE_WORKERS)
    return all_there and enough and all(s.erlangs >= least for s in recent)


def tried(
    policy: Policy, last: Trial | None, samples: Sequence[Sample], there: tuple[Observation, Measured], needed: int
) -> Trial | None:
    """The last trial, or a new one where full pods are all that the known load needs."""
    (seen, measured), now = there, samples[-1].at
    if needed > seen.replicas or seen.replicas >= policy.max_replicas or not full(samples, seen, measured):
        return last
    work = predictors.mean(samples, now, predictors.FAST_S)
    if last is not None and now - last.at < AGAIN_S and work < MORE * last.erlangs:
        return last
    return Trial(now, work, seen.replicas + 1)


def goes_on(trial: Trial | None, now: float, horizon_s: float) -> bool:
    """Whether the replica of a trial has not yet had the time to come and to show what it does."""
    return trial is not None and now - trial.at < horizon_s + predictors.FAST_S
