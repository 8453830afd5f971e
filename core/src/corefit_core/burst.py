"""CPU beyond a pod's request: was it there, by the pod's own account? For pods whose limit is above it. Pure.

Such CPU is the node's to lend. A process that wants more than its request either runs, and then used more than that,
or is kept waiting in the run queue, and then others have the CPU. Waiting that its own quota made is neither: that is
the limit, and no neighbour. Where no more than the request is wanted nothing is learnt.
"""

from collections.abc import Iterable
from typing import Literal

import msgspec

from corefit_core.report import Burst

Lending = Literal["NotNeeded", "Available", "Scarce"]


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """What the kernel counted for a process, seconds; monotonic, or a difference of two.

    Attributes:
        cpu_s: on a CPU.
        waited_s: runnable without one, all threads together.
        throttled_s: stopped since the quota was used up.
    """

    cpu_s: float
    waited_s: float
    throttled_s: float

    def since(self, earlier: "Usage") -> "Usage":
        """The difference."""
        return Usage(
            cpu_s=self.cpu_s - earlier.cpu_s,
            waited_s=self.waited_s - earlier.waited_s,
            throttled_s=self.throttled_s - earlier.throttled_s,
        )


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """Whether nodes lent what was wanted beyond the requests.

    Attributes:
        lent_cores: used beyond the requests, of all pods, on average.
        short_cores: wanted as well, and not had.
    """

    lending: Lending
    lent_cores: float
    short_cores: float


def counted(before: Burst, used: Usage, span_s: float) -> Burst:
    """The statement after another stretch of time, short against the load's changes: a second."""
    request_s = before.request_millicores / 1000 * span_s
    waited_s = max(0.0, used.waited_s - used.throttled_s)
    if span_s <= 0 or used.cpu_s + waited_s <= request_s:
        return before
    lent_s = max(0.0, used.cpu_s - request_s)
    return msgspec.structs.replace(
        before, lent_seconds=before.lent_seconds + lent_s, short_seconds=before.short_seconds + waited_s
    )


def verdict(stretches: Iterable[tuple[Burst, Burst]], span_s: float) -> Verdict:
    """Over some seconds and pods, each with its statement at the start and at the end."""
    pairs = list(stretches)
    lent_s = sum(max(0.0, end.lent_seconds - start.lent_seconds) for start, end in pairs)
    short_s = sum(max(0.0, end.short_seconds - start.short_seconds) for start, end in pairs)
    lending: Lending = "NotNeeded"
    if lent_s or short_s:
        lending = "Available" if lent_s >= short_s else "Scarce"
    return Verdict(lending=lending, lent_cores=lent_s / span_s, short_cores=short_s / span_s)
