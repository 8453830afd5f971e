"""The load of the next seconds, for resizes of CPU: the mean since the load last rose by more than chance.

A mean of seconds takes as many to believe in a step, and one second's count is a guess. So what is expected is the
mean since the load last rose by more than chance: it is there in the round that shows a step, and known better with
each one more. May not know of pods or CPU.
"""

import itertools
import math
from collections.abc import Sequence
from typing import Final

from corefit_core.recommender import predictors, queueing, spans
from corefit_core.recommender.predictors import LEAST_S, Sample

SURGE: Final = 3.5
"""Standard errors of one round: by chance once in 4,300 rounds, two hours of 2 s."""
TAIL: Final = (SURGE**2 - 1) / 6
"""Requests by which so rare a count of few lies above so many standard errors: a Poisson's upper tail is longer than a
normal's (Cornish and Fisher). Without it the first request after a quiet quarter of a minute is a surge."""


def recent(samples: Sequence[Sample]) -> float:
    """The mean of the last seconds, as it was worked or turned away."""
    return predictors.mean(samples, samples[-1].at, spans.RECENT_S)


def at_resize(samples: Sequence[Sample], service: queueing.Service, seconds: float, surge: float) -> float:
    """The load in so many seconds: its recent mean, or a surge (see `step`), drawn out as far as it surely goes on.

    What is said of a surge is of this round alone: while it lasts the next one says it again.
    """
    here, last = recent(samples), samples[-1]
    if surge <= here:
        return here
    # No further than twice: what doubles within a round is no line.
    rising = _rising(samples[-3:], service)
    drawn_out = min(2 * last.arriving, last.arriving + seconds * rising) if rising else 0.0
    return max(surge, drawn_out)


def catching_up(samples: Sequence[Sample], service: queueing.Service, round_s: float) -> float:
    """Beside the load: what works long queues off within a round.

    CPU for the load alone leaves a queue as long as it has become, and its next request is turned away. A request takes
    one worker, however long: more of them don't answer it within a round that its run outlasts.
    """
    return samples[-1].waiting * min(1.0, service.service_s / max(LEAST_S, round_s))


def step(samples: Sequence[Sample], service: queueing.Service) -> float:
    """The mean of what has arrived since the load rose by more than chance; 0 where it has not in the last seconds.

    What arrives: full pods work no more than they can, and then more than arrives, until none waits. A count is as
    exact as it is large, whatever the requests take, and none is no more exact than one. The load rose somewhere within
    the first of those rounds, which has therefore seen some of before as well and is left out once there is another.
    """
    now, one = samples[-1].at, service.service_s
    seen = [s for s in samples if s.at > now - spans.FAST_S]
    begin, since = seen[0].at - _span_s(seen[:2]), seen[:1]
    for before, each in itertools.pairwise(seen):
        span_s, known_s = _span_s((before, each)), max(LEAST_S, before.at - begin)
        mean = _mean(since)
        noise = math.sqrt((mean + one / known_s) * one * (1 / known_s + 1 / span_s))
        if each.arriving > mean + SURGE * noise + TAIL * one / span_s:
            begin, since = before.at, [each]
        else:
            since.append(each)
    rose = since[0] is not seen[0] and begin >= now - spans.RECENT_S
    return _mean(since[1:] or since) if rose else 0.0


def _mean(samples: Sequence[Sample]) -> float:
    return sum([s.arriving for s in samples]) / len(samples)


def _span_s(pair: Sequence[Sample]) -> float:
    """Seconds from one round to the next."""
    return max(LEAST_S, pair[-1].at - pair[0].at)


def _rising(samples: Sequence[Sample], service: queueing.Service) -> float:
    """Erlangs a second by which the load is surely rising: the lesser of the last two rises, each less its chance.

    One rise can't be told from a step, which ends there; and the counts of two rounds differ by chance: 32 requests a
    second are 46 in one of a hundred seconds. What rises twice in a row by more than a standard error goes on.
    """
    if len(samples) < 3:
        return 0.0
    return max(0.0, min(_rise(a, b, service) for a, b in itertools.pairwise(samples)))


def _rise(before: Sample, after: Sample, service: queueing.Service) -> float:
    """Erlangs a second from one round to the next, less the standard error of the difference of two Poisson counts."""
    span_s = after.at - before.at
    if span_s <= 0:
        return 0.0
    noise = service.noise(before.arriving + after.arriving, span_s)
    return (after.arriving - before.arriving - noise) / span_s
