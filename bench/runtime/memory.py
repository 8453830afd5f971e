"""Memory under overload over time, and what a second worker costs."""

from bench.runtime import contenders, load, procstat
from bench.runtime.harness import Bench
from bench.runtime.samples import Stream

_MIB = 2**20


def growth(bench: Bench) -> None:
    """Resident memory late over early in one long run at 200 % load: 10 minutes over 1, in --quick 40 s over 10."""
    early_s, late_s = (10.0, 40.0) if bench.quick else (60.0, 600.0)
    model = bench.model("5ms")
    with bench.corefit(model) as server:
        capacity = bench.closed(server, model, 4, 2.0).throughput(0.3)
        early = _after(bench, server, 2 * capacity, early_s)
        late = _after(bench, server, 2 * capacity, late_s - early_s)
    note = f"{early / _MIB:.0f} MiB after {early_s:g} s at 200 %, {late / _MIB:.0f} MiB after {late_s:g} s"
    bench.found("memory", "late / early", late / early, at_most=1.1, note=note, steady=True)


def workers(bench: Bench) -> None:
    """Resident memory of two workers over one, on a model of 100 MB."""
    model = bench.model("mlp-100mb")
    resident: list[int] = []
    for count in (1, 2):
        options = ("--cpus", str(count), "--objective-ms", "1000")
        with contenders.corefit(model, *options, cpu=None) as server:
            bench.closed(server, model, 4, 2.0)
            resident.append(procstat.memory_bytes(server.pid))
    one, two = resident
    note = f"{one / _MIB:.0f} MiB with one worker, {two / _MIB:.0f} MiB with two; the model is 99 MiB"
    bench.found("workers", "a second worker", (two - one) / _MIB, "MiB", at_most=20.0, note=note, steady=True)


def _after(bench: Bench, server: contenders.Server, rate: float, seconds: float) -> int:
    stream = Stream(
        name="open",
        port=server.port,
        request_file=bench.request(bench.model("5ms")),
        steps=((rate, seconds),),
        connections=64,
    )
    # Once: how long the server was under load is what counts, not who else was there.
    load.run(server, [stream], seconds, client_cpu=bench.client_cpu)
    return procstat.memory_bytes(server.pid)
