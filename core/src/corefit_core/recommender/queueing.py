"""How many requests miss the objective at a load, and the fewest workers that keep it. Pure arithmetic.

The model is M/G/c with a deadline: Poisson arrivals, c workers that share one queue, service times of known mean
and variance, and a request that would wait longer than it may is turned away at once, as the runtime does.
For exponential service the loss is exact (Barrer 1957); for others the decay of the waiting time is scaled by
(1 + cv^2) / 2, the heavy-traffic result of Kingman and Pollaczek-Khinchine. Valid below and above saturation,
where M/G/c without a deadline has no answer: that is where a flash crowd is.
"""

import math
from collections.abc import Sequence
from typing import Final

import msgspec


class Service(msgspec.Struct, frozen=True, kw_only=True):
    """What the formulas need to know of a service.

    Attributes:
        service_s, scv: mean and squared coefficient of variation of the service time.
        latency_s: of the objective.
        workers: of a pod, at full speed; a fraction where throttling lets so many compute at once, or pods differ.
        slowdown: workers that run over those: how much longer a run takes while all do.
        pooling: how far pods share their load, 0 to 1.
    """

    service_s: float
    scv: float
    latency_s: float
    workers: float
    pooling: float
    slowdown: float = 1.0

    def missed(self, pods: int, erlangs: float) -> float:
        """The share of requests that miss the objective: turned away, or let in and late.

        What takes longer than the objective by itself is left out: no number of pods would change it.
        """
        return self.of(pods).missed(erlangs)

    def turned_away(self, pods: int, erlangs: float) -> float:
        """The share of requests that are not let in, of those that a free worker would have answered in time."""
        return self.of(pods).turned_away(erlangs)

    def noise(self, erlangs: float, seconds: float) -> float:
        """The standard error of a load of Poisson arrivals that is measured over so many seconds, in Erlangs."""
        return math.sqrt(max(0.0, erlangs) * self.service_s * (1 + self.scv) / seconds)

    def of(self, pods: int) -> "Pods":
        """So many pods of it."""
        workers, mean = self.workers * self.slowdown, self.latency_s / (self.service_s * self.slowdown)
        patience = mean - 1
        spread = math.sqrt(self.scv * (1 + max(0.0, patience) / workers) + ROUNDING / workers**2)
        deviation = math.sqrt(self.scv)
        nodes = _NODES if self.scv >= ALMOST_CONSTANT else _NODES[1:2]
        left = [(mean - max(0.0, 1 + node * deviation), weight) for node, weight in nodes]
        return Pods(
            servers(workers, pods, self.pooling),
            pods * self.workers,
            self.scv,
            tuple([(self._smooth(each, pods), weight) for each, weight in left if each >= 0]),
            patience,
            min(patience, HALF_NORMAL * spread),
        )

    def _smooth(self, patience: float, pods: int) -> float:
        """The patience, in service times, that one shared queue would need to lose as many as the pods' queues do.

        However well requests are spread, each one joins the queue of one pod: it waits for whole requests (half of
        one more on average), and for the variation of those few, which a shared queue would average out.
        """
        if pods == 1:
            return patience
        workers = self.workers * self.slowdown
        lumps = 0.5 / workers + math.sqrt(self.scv * patience / workers)
        return max(LEAST_PATIENCE * patience, patience - self.pooling * lumps)


class Pods(msgspec.Struct, frozen=True, gc=False):
    """Some pods of a service: what of the formulas does not depend on the load.

    Attributes:
        together: workers that in effect share one queue.
        capacity: workers.
        scv: of the service time.
        patiences: (wait allowed, weight) for service times about the mean, in mean service times; those that leave no
            time to wait are left out.
        patience: the wait allowed to a request of the mean.
        margin: by how much of that a request that is let in may be late.
    """

    together: float
    capacity: float
    scv: float
    patiences: tuple[tuple[float, float], ...]
    patience: float
    margin: float

    def missed(self, erlangs: float) -> float:
        """The share of requests that miss the objective at that load: see `Service.missed`."""
        load = erlangs * self.together / self.capacity
        blocked = erlang_b(self.together, load)
        away = self._away(load, blocked)
        if erlangs <= 0 or self.patience <= 0:
            return away
        return min(1.0, away + self._late(load, blocked))

    def turned_away(self, erlangs: float) -> float:
        """The share of requests that are not let in: see `Service.turned_away`."""
        load = erlangs * self.together / self.capacity
        return self._away(load, erlang_b(self.together, load))

    def _away(self, load: float, blocked: float) -> float:
        missed = total = 0.0
        for patience, weight in self.patiences:
            total += weight
            missed += weight * _lost(self.together, load, blocked, patience, self.scv)
        return missed / total if total else 1.0

    def _late(self, load: float, blocked: float) -> float:
        """The share of requests that are let in and answered late.

        The wait that a bound lets in is known by the number of requests ahead only. What they and the request itself
        take differs from the mean by the margin on average, in half of all cases upward: late is that half of those
        whose wait is within the margin of the bound. Below saturation few waits are; above it nearly all, so that a
        queue that is always full answers every other request late, however little is turned away. The density of
        waits is Barrer's.
        """
        theta, patience = 2 * (self.together - load) / (1 + self.scv), self.patience
        steep = theta * patience
        if steep < -_OVERFLOW:
            return self.together / load / 2
        waiting = blocked * 2 * self.together / (1 + self.scv)
        if abs(steep) > 1e-9:
            mass, below = -math.expm1(-steep) / theta, -math.expm1(-theta * (patience - self.margin)) / theta
        else:
            mass, below = patience, patience - self.margin
        total = 1 - blocked + waiting * mass + blocked * math.exp(-steep)
        return waiting * (mass - below) / total / 2


LEAST_WAIT: Final = 0.5
"""Of a run: the wait that is kept to where an objective leaves no time for any; see `attainable`."""
HALF_NORMAL: Final = math.sqrt(2 / math.pi)
"""The mean of a normal deviation's size, in standard deviations."""
ROUNDING: Final = 1 / 12
"""Variance of what a whole number is off by: a queue is bounded by a number of requests, not by their time."""
LEAST_PATIENCE: Final = 0.25
"""Of the wait allowed, what is left however coarse a pod's queue is: it still lets in what finds a free worker."""
_SQRT2: Final = math.sqrt(2)
_SQRT2PI: Final = math.sqrt(2 * math.pi)
_FAR: Final = 37.0
"""Standard deviations past which the normal density underflows a double."""
_OVERFLOW: Final = 700.0
"""Near the largest exponent of a double."""
ALMOST_CONSTANT: Final = 0.01
"""A variation of 10 % moves the deadline by less than the formula is exact to."""
_NODES: Final = ((-math.sqrt(3), 1 / 6), (0.0, 2 / 3), (math.sqrt(3), 1 / 6))
"""Three points that have the mean, variance and skew of a normal (Gauss-Hermite): service times in a sum."""


def attainable(latency_s: float, run_s: float) -> float:
    """The objective; where a run takes as long by itself, which no number of pods changes, what can be kept instead."""
    return max(latency_s, (1 + LEAST_WAIT) * run_s)


def erlang_b(servers: float, erlangs: float) -> float:
    """The share of Poisson arrivals that finds all of `servers` busy when none may wait.

    For real numbers of servers, by the expansion of Janssen, van Leeuwaarden and Zwart (Operations Research 59,
    2011): below saturation at most 6 % above the exact recursion for 1 server, 2.1 % for 4 and 1 % from 10 on, at
    constant cost.
    """
    rho = erlangs / servers
    if rho <= 0:
        return 0.0
    alpha = math.copysign(math.sqrt(max(0.0, -2 * servers * (1 - rho + math.log(rho)))), 1 - rho)
    if abs(alpha) > _FAR:
        return max(0.0, 1 - 1 / rho)
    mills = 0.5 * math.erfc(-alpha / _SQRT2) * _SQRT2PI * math.exp(alpha * alpha / 2)
    return min(1.0, 1 / (math.sqrt(servers) * mills + 2 / 3))


def turned_away(servers: float, erlangs: float, patience: float, scv: float) -> float:
    """The share of requests whose wait would be over `patience` mean service times.

    Args:
        servers: workers that share one queue.
        erlangs: offered load.
        patience: the wait allowed, in mean service times; below zero nothing is in time.
        scv: squared coefficient of variation of the service time.
    """
    if patience < 0:
        return 1.0
    return _lost(servers, erlangs, erlang_b(servers, erlangs), patience, scv)


def _lost(servers: float, erlangs: float, blocked: float, patience: float, scv: float) -> float:
    """As `turned_away`, the share that finds all servers busy when none may wait being known."""
    rho = erlangs / servers
    if rho <= 0:
        return 0.0
    exponent = 2 * (servers - erlangs) * patience / (1 + scv)
    if abs(exponent) < 1e-9:
        return blocked / (1 + blocked * 2 * servers * patience / (1 + scv))
    if exponent < -_OVERFLOW:
        return 1 - 1 / rho
    decay = math.exp(-exponent)
    return min(1.0, (1 - rho) * blocked * decay / ((1 - rho) + rho * blocked * (1 - decay)))


def servers(workers: float, pods: int, pooling: float) -> float:
    """How many workers in effect share one queue: those of one pod at a pooling of 0, all of them at 1."""
    return workers * math.pow(pods, pooling)


def waiting(servers: float, erlangs: float) -> float:
    """The share of requests that find every worker busy (Erlang C); 1 at saturation."""
    rho = erlangs / servers
    if rho >= 1:
        return 1.0
    blocked = erlang_b(servers, erlangs)
    return blocked / (1 - rho * (1 - blocked))


def pods_needed(
    erlangs: float,
    distribution: Sequence[tuple[float, float]],
    service: Service,
    miss_target: float,
    at_most: int,
    *,
    least: int = 1,
    near: int = 0,
) -> int:
    """The fewest pods with which at most `miss_target` of the requests miss the objective, `at_most` when none do.

    Args:
        erlangs: the load predicted.
        distribution: (chance, load over prediction) of what may come.
        service: of one pod.
        miss_target: the share of requests that may miss.
        at_most: where the search ends.
        least: no fewer than these.
        near: where it begins: the answer is the same, and found at once when it is near. 0: at the load.
    """
    at_most = max(least, at_most)
    # All below `low` are too few, `high` are enough or the most; steps double until the answer lies between.
    low, high, step = least, at_most, 1
    probe = max(least, min(at_most - 1, near or math.ceil(erlangs / service.workers)))
    while low < high:
        if enough(probe, erlangs, distribution, service, miss_target):
            high = probe
            probe = high - step if low <= high - step else (low + high) // 2
        else:
            low = probe + 1
            probe = low + step - 1 if low + step - 1 < high else (low + high) // 2
        step *= 2
    return low


def enough(
    pods: int, erlangs: float, distribution: Sequence[tuple[float, float]], service: Service, miss_target: float
) -> bool:
    """Whether so many pods miss the objective in at most `miss_target` of the requests; see `pods_needed`.

    `distribution` is in falling order of load, and its products of chance and ratio add up to one at most.
    """
    some, budget, rest = service.of(pods), miss_target, 1.0
    for chance, ratio in distribution:
        missed = some.missed(erlangs * ratio)
        budget -= chance * ratio * missed
        rest -= chance * ratio
        if budget < 0:
            return False
        # The rest is of less load, and misses no larger a share.
        if rest * missed <= budget:
            return True
    return True
