"""Open-loop load beside a test: requests at fixed times, whatever becomes of them."""

import asyncio
import itertools
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Self

from corefit.demo.predictions import known_rows, output, payload
from corefit.load import Kind, Options, Recorder, Request, Step, intended_times, run
from corefit.load.record import Sample
from corefit.load.target import json_request

DIGITS = known_rows(Path(__file__).parents[2] / "examples/digits/rows.json")
"""Rows that the digits model never saw, and what it says of each."""
LONGEST_S = 7200
PATIENCE_S = 60.0
"""Seconds; a request that gets no answer for so long is lost. One that was taken in is answered later where the CPU is
gone all of a sudden, and this process is short of it as well."""


def digits_requests(count: int) -> list[Request]:
    """Requests of a row each to the digits model, each of which knows its right answer."""
    pairs = zip(DIGITS["rows"][:count], DIGITS["predictions"][:count], strict=True)
    return [json_request(payload(DIGITS["input"], [row]), wrong=_expect(label)) for row, label in pairs]


def _expect(label: int) -> Callable[[bytes], str | None]:
    def wrong(body: bytes) -> str | None:
        said = output(body, DIGITS["output"])
        return None if said == [label] else f"{said} instead of {label}"

    return wrong


class Load:
    """Load in a thread of its own while the block runs; afterwards what became of each request.

    Args:
        url: asked by POST.
        requests: sent in turn.
        rate: requests a second.
        per_connection: requests of one connection; a Service balances connections, and only new ones go to a new pod.
    """

    def __init__(self, url: str, requests: Sequence[Request], rate: float, *, per_connection: int = 5) -> None:
        self.recorder = Recorder()
        self._start = 0.0
        self._url = url
        self._requests = requests
        self._rate = rate
        self._options = Options(requests_per_connection=per_connection, timeout_s=PATIENCE_S)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._drive)

    def _drive(self) -> None:
        steps = [Step(rate=self._rate, duration_s=LONGEST_S)]
        times = itertools.takewhile(lambda _: not self._stop.is_set(), intended_times(steps))
        asyncio.run(
            run(self._url, self._requests, times, recorder=self.recorder, options=self._options, start=self._start)
        )

    @property
    def now_s(self) -> float:
        """By the clock of the samples."""
        return time.monotonic() - self._start

    def __enter__(self) -> Self:
        self._start = time.monotonic()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def lost(self) -> list[Sample]:
        """What got neither a right answer nor an honest refusal."""
        return [s for s in self.recorder if s.kind in (Kind.ERROR, Kind.WRONG)]

    def served_one_more(self) -> Callable[[], bool]:
        """A condition: a request that is sent from now on has been answered."""
        seen = len(self.recorder)
        return lambda: any(s.kind is Kind.OK for s in itertools.islice(self.recorder, seen, None))
