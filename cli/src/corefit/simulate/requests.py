"""The requests of one run: when they arrive, how long they take, and what became of them. May not serve them."""

from typing import Final, Literal

import numpy as np

from corefit.simulate import kernel
from corefit.simulate.kernel import Floats, Load

Balancing = Literal["central", "random", "least-loaded", "auto"]
_BALANCING: Final[dict[Balancing, int]] = {
    "central": kernel.CENTRAL,
    "random": kernel.RANDOM,
    "least-loaded": kernel.LEAST,
    "auto": kernel.RANDOM,
}
_GOLDEN: Final = 0x9E3779B97F4A7C15
"""Any odd number with many bits set: xorshift must not begin at zero."""


class Requests:
    """What arrives in a run, and what became of it.

    Attributes:
        load: arrival times and service times in seconds, ascending; latencies from arrival to answer, infinite for
            what was turned away; the mean number of requests inside pods in each second; the balancer's state.
        duration_s: of the run.
        served: how many requests have been let in or turned away.
    """

    def __init__(
        self, arrivals: Floats, work: Floats, duration_s: float, balancing: Balancing = "least-loaded"
    ) -> None:
        self.load = Load(
            arrivals=arrivals,
            services=work,
            latencies=np.full(len(arrivals), np.inf, dtype=np.float32),
            concurrency=np.zeros(int(duration_s) + 2),
            random=np.array([_GOLDEN], dtype=np.uint64),
            balancing=_BALANCING[balancing],
        )
        self.duration_s = duration_s
        self.served = 0

    def balance(self, balancing: Balancing) -> None:
        """Who gets the requests that arrive from now on."""
        self.load = self.load._replace(balancing=_BALANCING[balancing])


def services(count: int, mean_s: float, cv: float, seed: int) -> Floats:
    """Service times of the mean and coefficient of variation, log-normal: positive, with a tail to the right."""
    if cv <= 0:
        return np.full(count, mean_s)
    sigma_sq = np.log(1 + cv * cv)
    generator = np.random.default_rng(seed)
    return generator.lognormal(np.log(mean_s) - sigma_sq / 2, np.sqrt(sigma_sq), count)
