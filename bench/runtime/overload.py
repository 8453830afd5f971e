"""Latency at 80 % load, goodput beyond the capacity, and how soon it is over when the load falls."""

import statistics
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
from bench.runtime import contenders
from bench.runtime.harness import FOREIGN_LIMIT, Bench
from bench.runtime.samples import DONE, INTENDED, Array, Stream, answered, latency_s, lateness_s, statuses, within

GOOD: Final = 5.0
"""An answer is good when it comes within so many times the unloaded median: the objective of these runs as well."""
NORMAL: Final = 2.5
"""Back to normal: within so many times the unloaded median."""
_WARM_S: Final = 0.5
_CONNECTIONS: Final = 64


class _Known(msgspec.Struct, frozen=True, kw_only=True):
    """What the other figures are held against, and whether it was measured undisturbed."""

    unloaded_s: float
    capacity: float
    calm: bool


def loaded(bench: Bench) -> None:
    """The 5 ms model, its objective set to five times what an unloaded request takes."""
    model = bench.model("5ms")
    with bench.corefit(model) as server:
        unloaded = _unloaded(bench, server, model)
    objective_ms = 1000 * GOOD * unloaded
    with bench.corefit(model, "--objective-ms", f"{objective_ms:.1f}") as server:
        seconds = 3.0 if bench.quick else 8.0
        capacity = bench.closed(server, model, 2, seconds).throughput(_WARM_S)
        bench.found("load", "unloaded p50", 1000 * unloaded, "ms")
        bench.found("load", "capacity", capacity, "requests/s", note=f"objective {objective_ms:.0f} ms")
        known = _Known(unloaded_s=unloaded, capacity=capacity, calm=bench.worst <= FOREIGN_LIMIT)
        _eighty(bench, server, model, known)
        for share in (1.2, 2.0):
            _beyond(bench, server, model, share, known)
        _recovery(bench, server, model, known)


def good(samples: Array, limit_s: float) -> Array:
    """The answers that came within the limit of the intended send time."""
    answers = answered(samples)
    result: Array = answers[answers[:, DONE] - answers[:, INTENDED] <= limit_s]
    return result


def recovery_s(samples: Array, fell_s: float, limit_s: float) -> float:
    """Seconds from the fall of the load to the last request meant for afterwards that was refused or late."""
    after = samples[samples[:, INTENDED] >= fell_s]
    fine = good(after, limit_s)[:, INTENDED]
    bad = np.setdiff1d(after[:, INTENDED], fine)
    return float(bad.max() - fell_s) if len(bad) else 0.0


def _unloaded(bench: Bench, server: contenders.Server, model: Path) -> float:
    run = bench.closed(server, model, 1, 2.0 if bench.quick else 5.0)
    return latency_s(within(run.only, _WARM_S, run.seconds), 0.5)


def _open(
    bench: Bench, server: contenders.Server, model: Path, *steps: tuple[float, float], poisson: bool = False
) -> Array:
    stream = Stream(
        name="open",
        port=server.port,
        request_file=bench.request(model),
        steps=steps,
        poisson=poisson,
        connections=_CONNECTIONS,
    )
    return bench.run(server, stream, seconds=sum(seconds for _, seconds in steps)).only


def _eighty(bench: Bench, server: contenders.Server, model: Path, known: _Known) -> None:
    """Even gaps show what the server adds (D/D/1: nothing waits).

    Poisson arrivals wait by themselves: M/D/1 at 80 % has a p99 of 11.3 service times; when only those are taken that
    make five, 4.4, and a 22nd is refused.
    """
    seconds = 5.0 if bench.quick else 15.0
    for poisson in (False, True):
        samples = within(
            _open(bench, server, model, (0.8 * known.capacity, seconds), poisson=poisson), _WARM_S, seconds
        )
        goal: dict[str, Any] = {} if poisson else {"at_most": NORMAL, "only_worse": known.calm}
        note = f"{_counts(samples)}; client late by {1000 * lateness_s(samples):.2f} ms (p99)"
        name = f"p99 at 80 %, {'Poisson' if poisson else 'even'} arrivals"
        bench.found("load", name, latency_s(samples, 0.99) / known.unloaded_s, "x unloaded p50", note=note, **goal)


def _beyond(bench: Bench, server: contenders.Server, model: Path, share: float, known: _Known) -> None:
    seconds = 4.0 if bench.quick else 10.0
    rate = share * known.capacity
    samples = _open(bench, server, model, (rate, seconds))
    # Capacity moves with the neighbours: measured again, right after. The higher of both is what might have been done.
    after = bench.closed(server, model, 2, seconds / 2).throughput(_WARM_S)
    capacity = max(after, known.capacity)
    measured = within(samples, _WARM_S, seconds)
    goodput = len(good(measured, GOOD * known.unloaded_s)) / (seconds - _WARM_S)
    note = f"{_counts(measured)}; p99 of answers {1000 * latency_s(measured, 0.99):.1f} ms; {after:.0f}/s right after"
    name = f"goodput at {share:.0%}"
    bench.found("load", name, goodput / capacity, at_least=0.95, note=note, only_worse=known.calm)


def _recovery(bench: Bench, server: contenders.Server, model: Path, known: _Known) -> None:
    """The median of a few: one neighbour's moment seconds later would count as a recovery that long."""
    high, low = 3.0, 4.0
    times = []
    for _ in range(2 if bench.quick else 5):
        samples = _open(bench, server, model, (2 * known.capacity, high), (0.5 * known.capacity, low))
        times.append(recovery_s(samples, high, NORMAL * known.unloaded_s))
    each = ", ".join(f"{time:.2f}" for time in times)
    note = f"after {high:g} s at 200 %, at 50 %: the last that was refused or took over {NORMAL:g} x; {each} s"
    bench.found("load", "recovery", statistics.median(times), "s", at_most=1.0, note=note, only_worse=known.calm)


def _counts(samples: Array) -> str:
    return ", ".join(f"{count} x {status}" for status, count in statuses(samples).items())
