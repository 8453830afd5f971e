"""The report endpoints of all pods: one server on one port, which tells the pods apart by the address that was called.

127.0.0.0/8 is all of this machine, so pod n has the address 127.1 + n and no interface has to be made. A process of
its own. Writes each second to a file how long the rounds of pods were: the time between two requests to the same pod.
"""

import asyncio
import sys
import time
from pathlib import Path

import msgspec
import uvloop

from corefit_core import report
from corefit_core.histogram import Histogram
from corefit_core.naming import PORT_ADMIN
from corefit_core.report import Counters, Gauges, ModelIdentity, PlanInForce, Report

RATE, SERVICE_S = 20.0, 0.02
"""Of each pod: requests a second, and seconds of a worker for each; 0.4 Erlangs on one worker."""
SPREAD = (0, 0, 1, 3, 9, 20, 30, 20, 9, 4, 2, 1, 1)
"""How service times lie over thirteen neighbouring buckets, in percent."""


def address(number: int) -> str:
    """Of the pod of that number."""
    return f"127.{1 + number // 62500}.{number // 250 % 250}.{1 + number % 250}"


def _number(host: str) -> int:
    _, high, middle, low = map(int, host.split("."))
    return (high - 1) * 62500 + middle * 250 + low - 1


def _report(now: float) -> bytes:
    done = int(RATE * now)
    counts = (0,) * 30 + tuple(done * share // 100 for share in SPREAD)
    times = Histogram(counts=counts, sum_s=done * SERVICE_S, sum_sq_s2=done * SERVICE_S**2 * 1.2)
    return report.encode(
        Report(
            boot_id="b",
            state="Ready",
            model=ModelIdentity(name="m", sha256="0" * 64),
            plan=PlanInForce(grant_millicores=1000, workers=1, threads_per_worker=1, queue_depth=4, why="a bench"),
            clock_s=now,
            startup_s=3.0,
            counters=Counters(
                arrivals=done, admitted=done, completed=done, busy_worker_seconds=done * SERVICE_S, cpu_seconds=now
            ),
            gauges=Gauges(),
            queue_wait=times,
            service_time=times,
            total=times,
        )
    )


class Endpoint(asyncio.Protocol):
    """One connection: answers each head with the report of the pod that was called."""

    asked: dict[int, float] = {}  # noqa: RUF012 - of all connections
    rounds: list[float] = []  # noqa: RUF012 - likewise

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Notes which pod this is."""
        self.transport = transport
        self.number = _number(transport.get_extra_info("sockname")[0])

    def data_received(self, data: bytes) -> None:
        """A GET fits into one segment."""
        if not data.endswith(b"\r\n\r\n"):
            return
        now = time.monotonic()
        before = self.asked.get(self.number)
        self.asked[self.number] = now
        if before is not None:
            self.rounds.append(now - before)
        body = _report(now)
        self.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)  # type: ignore[attr-defined]


async def _serve(told: Path) -> None:
    await asyncio.get_running_loop().create_server(Endpoint, "0.0.0.0", PORT_ADMIN, backlog=4096)  # noqa: S104 - in a network namespace of the bench's own
    while True:
        await asyncio.sleep(1)  # the bench reads what is there when its window is over
        part = told.with_suffix(".part")
        part.write_bytes(msgspec.json.encode(Endpoint.rounds))
        part.replace(told)


if __name__ == "__main__":
    uvloop.run(_serve(Path(sys.argv[1])))
