"""Under a CPU limit: Corefit, which sizes itself to it, against a server that was never told."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec
from bench.runtime import cgroup, contenders, load
from bench.runtime.harness import Bench
from bench.runtime.samples import Stream, latency_s, within

_WARM_S: Final = 0.5
_CLIENTS: Final = (1, 4, 16)
"""Of a closed loop: each naive request is a thread of its own that does its share of its run, so that the more of them
there are the less of the quota the fifteen helpers of each run waste."""
_NODE: Final = 16
"""Cores of the node that the naive server takes its threads from."""
_BOUND: Final = 0.95
"""Who used so much of the quota was held back by it, and not by neighbours."""


class _Limit(msgspec.Struct, frozen=True, kw_only=True):
    """A quota, and the numbers of clients that are tried under it."""

    name: str
    millicores: int
    clients: tuple[int, ...]


class _Side(msgspec.Struct, frozen=True, kw_only=True):
    """What one server did: its rate by clients, the share of the quota used for the last, p99 at the rate sent."""

    rates: dict[int, float]
    used: float
    p99_s: float


def against_naive(bench: Bench) -> None:
    """A limit of 1 CPU on this machine; and of a sixteenth of the machine, as 1 CPU is on a node of 16 cores."""
    one = _Limit(name="limit of 1 CPU", millicores=1000, clients=_CLIENTS)
    sized, naive = _both(bench, one)
    steady = min(sized.used, naive.used) >= _BOUND
    for clients in one.clients:
        ratio = sized.rates[clients] / naive.rates[clients]
        bench.found(one.name, f"throughput, sized / naive, {_of(clients)}", ratio, at_least=5.0, steady=steady)
    bench.found(one.name, "p99, sized / naive", sized.p99_s / naive.p99_s, at_most=0.2, steady=steady)

    millicores, most = len(os.sched_getaffinity(0)) * 1000 // _NODE, _CLIENTS[-1]
    share = _Limit(name=f"limit of 1/{_NODE} of the machine", millicores=millicores, clients=(most,))
    sized, naive = _both(bench, share)
    ratio = sized.rates[most] / naive.rates[most]
    bench.found(share.name, f"throughput, sized / naive, {_of(most)}", ratio, steady=True)


def _both(bench: Bench, limit: _Limit) -> tuple[_Side, _Side]:
    """Sized and naive, both with all CPUs of the machine in their mask and the same quota."""
    sized = _side(bench, limit, "sized", None)
    return sized, _side(bench, limit, "naive", 0.8 * sized.rates[limit.clients[-1]])


def _side(bench: Bench, limit: _Limit, who: str, sent: float | None) -> _Side:
    """One of them: closed loops of each number of clients, then `sent` requests a second, or 80 % of what it can do."""
    model = bench.model("mobilenet")
    seconds = 4.0 if bench.quick else 10.0
    rates: dict[int, float] = {}
    used = 0.0
    with _limited(who, model, limit.millicores) as (server, group):
        for connections in limit.clients:
            before = group.throttled()
            run = load.run(server, [bench.stream(server, model, connections)], seconds, client_cpu=bench.client_cpu)
            periods, stopped = (now - then for now, then in zip(group.throttled(), before, strict=True))
            rates[connections], used = run.throughput(_WARM_S), run.cpu_s / (seconds * limit.millicores / 1000)
            note = f"{used:.0%} of the quota used, stopped in {stopped} of {periods} periods"
            bench.found(
                limit.name, f"{who}, {_of(connections)}", rates[connections], "requests/s", note=note, steady=True
            )
        p99_s = _p99(bench, server, model, sent or 0.8 * rates[limit.clients[-1]], seconds)
        bench.found(limit.name, f"{who}, p99 at 80 % of what sized does", 1000 * p99_s, "ms", steady=True)
    return _Side(rates=rates, used=used, p99_s=p99_s)


def _of(clients: int) -> str:
    return "1 client" if clients == 1 else f"{clients} clients"


@contextlib.contextmanager
def _limited(who: str, model: Path, millicores: int) -> Iterator[tuple[contenders.Server, cgroup.Group]]:
    with cgroup.quota(millicores) as group:
        if who == "sized":
            # An objective that 16 waiting clients can meet, or it would rightly refuse most of them.
            options = ("--objective-ms", "10000")
            started = contenders.corefit(model, *options, cpu=None, enter=group.enter)
        else:
            started = contenders.other("naive_server", model, "--threads", str(_NODE), cpu=None, enter=group.enter)
        with started as server:
            yield server, group


def _p99(bench: Bench, server: contenders.Server, model: Path, rate: float, seconds: float) -> float:
    """Open loop; requests that got no answer within the run are not in it, which only flatters the slower one."""
    stream = Stream(
        name="open", port=server.port, request_file=bench.request(model), steps=((rate, seconds),), connections=16
    )
    run = load.run(server, [stream], seconds, client_cpu=bench.client_cpu)
    return latency_s(within(run.only, _WARM_S, seconds), 0.99)
