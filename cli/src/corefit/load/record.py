"""What became of each request, and the figures that people read from it.

Exact samples, not buckets: a run has thousands of them, and a p99 that decides about an exit status should not be
off by a bucket's width. May not do I/O.
"""

import enum
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Final

import msgspec
import numpy as np

LATE_S: Final = 0.02
"""A generator that has CPU is late by a millisecond or two; by 20, others have taken it."""
STALL_S: Final = 0.5
"""Seconds without a turn after which connections that were idle may have been closed, and timeouts run out unseen."""


class Kind(enum.StrEnum):
    """The four ends of a request. Only `OK` and `SHED` are what an honest server does."""

    OK = "ok"
    """A success status, and the answer that was expected where one was."""
    SHED = "shed"
    """503 with Retry-After: refused at once because it could not be answered in time."""
    ERROR = "error"
    """Any other status, a broken connection, or no answer within the timeout: lost."""
    WRONG = "wrong"
    """A success status with an answer that isn't the expected one."""


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """One request.

    Attributes:
        intended_s: when it was meant to be sent, seconds from the start of the run.
        sent_s: when it was; later only when the generator itself could not keep up.
        done_s: when its end was known.
        kind: what became of it.
        detail: why, for all but `OK`.
    """

    intended_s: float
    sent_s: float
    done_s: float
    kind: Kind
    detail: str = ""

    @property
    def latency_s(self) -> float:
        """From the intended time: what a client that wanted its answer then has waited."""
        return self.done_s - self.intended_s


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """The figures of a set of samples; latencies are those of the requests that were answered well.

    Attributes:
        sent: requests of any end.
        late_p99_s: 99th percentile of how late the generator itself was. If it is not small beside the latencies,
            the generator was short of CPU and they say little about the server.
        details: how often each cause that was not `OK` came.
        stall_s: the longest that the generator itself did not get to run.
    """

    sent: int
    ok: int
    shed: int
    error: int
    wrong: int
    p50_s: float | None
    p90_s: float | None
    p99_s: float | None
    max_s: float | None
    late_p99_s: float | None
    details: dict[str, int]
    stall_s: float = 0.0

    @property
    def lost(self) -> int:
        """Requests that got neither a right answer nor an honest refusal."""
        return self.error + self.wrong

    @property
    def starved(self) -> bool:
        """Whether the generator was short of CPU, so that the figures say little about the server."""
        return (self.late_p99_s or 0.0) > LATE_S or self.stall_s > STALL_S


class Recorder:
    """Samples in the order in which they ended, how many there are of each kind, and the number on their way.

    Attributes:
        stall_s: the longest that the generator did not get to run so far.
    """

    def __init__(self) -> None:
        self._samples: list[Sample] = []
        self.in_flight = 0
        self.counts: Counter[Kind] = Counter()
        self.stall_s = 0.0

    def __iter__(self) -> Iterator[Sample]:
        return iter(self._samples)

    def __len__(self) -> int:
        return len(self._samples)

    def add(self, sample: Sample) -> None:
        """Note the end of a request."""
        self._samples.append(sample)
        self.counts[sample.kind] += 1

    def ended_since(self, at_s: float) -> list[Sample]:
        """The samples that ended at `at_s` or later: the last few seconds of a live view."""
        recent = []
        for sample in reversed(self._samples):
            if sample.done_s < at_s:
                break
            recent.append(sample)
        return recent[::-1]

    def summary(self) -> Summary:
        """The figures of the whole run so far."""
        return msgspec.structs.replace(summarize(self._samples), stall_s=self.stall_s)


def summarize(samples: Iterable[Sample]) -> Summary:
    """The figures of any set of samples."""
    kept = list(samples)
    kinds = Counter(sample.kind for sample in kept)
    latencies = np.array([sample.latency_s for sample in kept if sample.kind is Kind.OK])
    return Summary(
        sent=len(kept),
        ok=kinds[Kind.OK],
        shed=kinds[Kind.SHED],
        error=kinds[Kind.ERROR],
        wrong=kinds[Kind.WRONG],
        p50_s=_quantile(latencies, 0.5),
        p90_s=_quantile(latencies, 0.9),
        p99_s=_quantile(latencies, 0.99),
        max_s=_quantile(latencies, 1.0),
        late_p99_s=_quantile(np.array([sample.sent_s - sample.intended_s for sample in kept]), 0.99),
        details=dict(Counter(sample.detail for sample in kept if sample.kind is not Kind.OK)),
    )


def _quantile(values: "np.ndarray[tuple[int, ...], np.dtype[np.float64]]", q: float) -> float | None:
    return float(np.quantile(values, q)) if values.size else None
