"""Delays scaling up for bursts shorter than the start of a pod, once two similar ones have ended within an hour.

A pod that comes after the burst costs, and answers no request.

The first bursts are answered when they begin, since nobody knows how long they last. Where the last two within an hour
were alike and ended before their pods could serve, the next one gets pods once it has lasted longer than both: this
waits no longer than a start-up, as the rule of ski rental has it (Karlin et al. 1988). A burst that lasts clears the
memory, and so does one that follows another so soon that the pods of the first would have served it.
May not know pods, queues or what is decided.
"""

import msgspec

from corefit_core.recommender import spans
from corefit_core.recommender.prediction_errors import BEYOND, RECURS


class Transient(msgspec.Struct, frozen=True):
    """A burst that ended before a pod for it could serve.

    Attributes:
        at: the last round in which the load was high, seconds.
        lasted_s: from the last round before it until then; a round more than it lasted, at most.
        erlangs: the highest load of a round.
    """

    at: float
    lasted_s: float
    erlangs: float


class Surge(msgspec.Struct, frozen=True):
    """A burst that may not be over: more load than the pods carry, from one round to the next.

    Attributes:
        since: the last round before it, seconds.
        last: the last round in which the load was high, seconds.
        base: the mean load before it, Erlangs.
        highest: the highest load of a round, Erlangs.
    """

    since: float
    last: float
    base: float
    highest: float


class Transients(msgspec.Struct, frozen=True):
    """The last two bursts, within an hour, that ended too early for pods, oldest first, and the burst of now."""

    ended: tuple[Transient, ...] = ()
    surge: Surge | None = None


def followed(known: Transients, now: float, erlangs: float, ahead_s: float) -> Transients:
    """What is known with the load of this round.

    Args:
        known: up to the last round.
        now: seconds.
        erlangs: the load of this round.
        ahead_s: from the last round before a burst until a pod for it can serve.
    """
    ended, surge = tuple([each for each in known.ended if now - each.at < spans.MEMORY_S]), known.surge
    if surge is None:
        return Transients(ended)
    if erlangs > (surge.base + surge.highest) / 2:
        surge = msgspec.structs.replace(surge, last=now, highest=max(surge.highest, erlangs))
    if surge.last - surge.since >= ahead_s:
        return Transients()
    if now - surge.last < spans.RECENT_S:
        return Transients(ended, surge)
    over = Transient(surge.last, surge.last - surge.since, surge.highest)
    return Transients((*ended, over)[-RECURS:])


def begun(known: Transients, surge: Surge, kept_s: float) -> Transients:
    """What is known once a burst has begun.

    Args:
        known: up to this round; no burst goes on.
        surge: the burst.
        kept_s: how long replicas stay once the load has fallen.
    """
    follows = bool(known.ended) and surge.since - known.ended[-1].at < kept_s
    return Transients(() if follows else known.ended, surge)


def expected(known: Transients, round_s: float) -> Surge | None:
    """The burst of now where it has not outlasted the earlier ones, so that it may end as they did; None otherwise.

    Two bursts of the same length differ by a round, since each is seen in whole rounds. Bursts that differ by more tell
    nothing of the length of the next one.
    """
    surge = known.surge
    if surge is None or len(known.ended) < RECURS:
        return None
    lengths_s = [each.lasted_s for each in known.ended]
    highest = max([each.erlangs for each in known.ended])
    alike = max(lengths_s) - min(lengths_s) <= round_s and surge.highest <= BEYOND * highest
    return surge if alike and surge.last - surge.since <= max(lengths_s) + round_s else None
