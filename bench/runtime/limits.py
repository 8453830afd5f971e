"""Under a CPU limit of 1: Corefit, which sizes itself to it, against a server that was never told."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from bench.runtime import cgroup, contenders
from bench.runtime.harness import Bench
from bench.runtime.samples import Stream, latency_s, within

_WARM_S = 0.5
_CONNECTIONS = 16


def against_naive(bench: Bench) -> None:
    """Both with all CPUs of the machine in their mask and a quota of one: throughput, and p99 at equal load."""
    model = bench.model("mobilenet")
    seconds = 4.0 if bench.quick else 10.0
    rates: dict[str, float] = {}
    p99: dict[str, float] = {}
    for who in ("sized", "naive"):
        with _limited(who, model) as (server, group):
            before = group.throttled_periods()
            run = bench.closed(server, model, _CONNECTIONS, seconds)
            rates[who] = run.throughput(_WARM_S)
            note = f"{group.throttled_periods() - before} periods throttled"
            bench.found("limit of 1 CPU", f"{who}, {_CONNECTIONS} clients", rates[who], "requests/s", note=note)
            p99[who] = _p99(bench, server, model, 0.8 * rates["sized"], seconds)
            bench.found("limit of 1 CPU", f"{who}, p99 at 80 % of what sized does", 1000 * p99[who], "ms")
    bench.found("limit of 1 CPU", "throughput, sized / naive", rates["sized"] / rates["naive"], at_least=5.0)
    bench.found("limit of 1 CPU", "p99, sized / naive", p99["sized"] / p99["naive"], at_most=0.2)


@contextlib.contextmanager
def _limited(who: str, model: Path) -> Iterator[tuple[contenders.Server, cgroup.Group]]:
    with cgroup.quota(1000) as group:
        if who == "sized":
            # An objective that 16 waiting clients can meet, or it would rightly refuse most of them.
            options = ("--objective-ms", "1000")
            started = contenders.corefit(model, *options, cpu=None, enter=group.enter)
        else:
            started = contenders.other("naive_server", model, cpu=None, enter=group.enter)
        with started as server:
            yield server, group


def _p99(bench: Bench, server: contenders.Server, model: Path, rate: float, seconds: float) -> float:
    """Open loop; requests that got no answer within the run are not in it, which only flatters the slower one."""
    stream = Stream(
        name="open", port=server.port, request_file=bench.request(model), steps=((rate, seconds),), connections=16
    )
    return latency_s(within(bench.run(server, stream, seconds=seconds).only, _WARM_S, seconds), 0.99)
