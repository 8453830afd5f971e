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
_CONNECTIONS: Final = 16
_NODE: Final = 16
"""Cores of the node that the naive server takes its threads from."""
_BOUND: Final = 0.95
"""Who used so much of the quota was held back by it, and not by neighbours."""


class _Side(msgspec.Struct, frozen=True, kw_only=True):
    """What one server did: its rate, the share of the quota that it used for it, and p99 at equal load."""

    rate: float
    used: float
    p99_s: float


def against_naive(bench: Bench) -> None:
    """A limit of 1 CPU on this machine; and of a sixteenth of the machine, as 1 CPU is on a node of 16 cores."""
    one = _both(bench, "limit of 1 CPU", 1000)
    steady = min(side.used for side in one.values()) >= _BOUND
    sized, naive = one["sized"], one["naive"]
    bench.found("limit of 1 CPU", "throughput, sized / naive", sized.rate / naive.rate, at_least=5.0, steady=steady)
    bench.found("limit of 1 CPU", "p99, sized / naive", sized.p99_s / naive.p99_s, at_most=0.2, steady=steady)
    share = f"limit of 1/{_NODE} of the machine"
    small = _both(bench, share, len(os.sched_getaffinity(0)) * 1000 // _NODE)
    bench.found(share, "throughput, sized / naive", small["sized"].rate / small["naive"].rate, steady=True)


def _both(bench: Bench, experiment: str, millicores: int) -> dict[str, _Side]:
    """Both with all CPUs of the machine in their mask and the same quota."""
    model = bench.model("mobilenet")
    seconds = 4.0 if bench.quick else 10.0
    sides: dict[str, _Side] = {}
    for who in ("sized", "naive"):
        with _limited(who, model, millicores) as (server, group):
            before = group.throttled()
            run = load.run(server, [bench.stream(server, model, _CONNECTIONS)], seconds, client_cpu=bench.client_cpu)
            periods, stopped = (now - then for now, then in zip(group.throttled(), before, strict=True))
            rate, used = run.throughput(_WARM_S), run.cpu_s / (seconds * millicores / 1000)
            note = f"{used:.0%} of the quota used, stopped in {stopped} of {periods} periods"
            bench.found(experiment, f"{who}, {_CONNECTIONS} clients", rate, "requests/s", note=note, steady=True)
            sent = 0.8 * (sides["sized"].rate if sides else rate)
            p99_s = _p99(bench, server, model, sent, seconds)
            bench.found(experiment, f"{who}, p99 at 80 % of what sized does", 1000 * p99_s, "ms", steady=True)
            sides[who] = _Side(rate=rate, used=used, p99_s=p99_s)
    return sides


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
