"""Single rows beside batches of 512: what the large requests do to the small ones, cut into chunks and not."""

import json
import math
from pathlib import Path
from typing import Final

from bench.runtime import contenders
from bench.runtime.harness import Bench
from bench.runtime.samples import Stream, latency_s, statuses, within

ROWS: Final = 512
CHUNK_MS: Final = 10.0
_WARM_S: Final = 0.5
_SINGLES: Final = 50.0
"""Single rows a second: few, so that what they wait for is the batches and not each other."""


def traffic(bench: Bench) -> None:
    """p99 of single rows alone, beside batches cut into chunks, and beside batches run whole."""
    model = bench.model("mlp-100mb")
    seconds = 5.0 if bench.quick else 15.0
    with bench.corefit(model, "--objective-ms", "2000", "--chunk-ms", str(CHUNK_MS)) as server:
        chunk, cut = _chunk(bench, server, model, seconds / 2)
        alone, _ = _p99(bench, server, model, seconds, beside=False)
        beside, note = _p99(bench, server, model, seconds, beside=True)
    with bench.corefit(model, "--objective-ms", "2000", "--chunk-rows", "off") as server:
        whole, whole_note = _p99(bench, server, model, seconds, beside=True)
    bench.found("mixed", "one chunk", 1000 * chunk, "ms", note=cut)
    bench.found("mixed", "p99 of single rows alone", 1000 * alone, "ms")
    bench.found("mixed", f"p99 beside batches of {ROWS}, chunks", 1000 * beside, "ms", note=note)
    bench.found("mixed", f"p99 beside batches of {ROWS}, whole", 1000 * whole, "ms", note=whole_note)
    added = 1000 * (beside - alone)
    bench.found("mixed", "what batches add, chunks", added, "ms", at_most=round(1000 * chunk, 1))


def _chunk(bench: Bench, server: contenders.Server, model: Path, seconds: float) -> tuple[float, str]:
    """How long a chunk takes: batches alone, one after the other. The target of a chunk gives way to its efficiency."""
    rows = json.loads(server.report())["plan"]["chunk_rows"]
    stream = Stream(name="batches", port=server.port, request_file=bench.request(model, ROWS))
    run = bench.run(server, stream, seconds=seconds)
    note = f"of {rows} rows; the target is {CHUNK_MS:g} ms, but half of a chunk goes into its rows at least"
    return latency_s(run.only, 0.5) / math.ceil(ROWS / rows), note


def _p99(bench: Bench, server: contenders.Server, model: Path, seconds: float, *, beside: bool) -> tuple[float, str]:
    singles = Stream(
        name="singles",
        port=server.port,
        request_file=bench.request(model),
        steps=((_SINGLES, seconds),),
        connections=16,
    )
    batches = Stream(name="batches", port=server.port, request_file=bench.request(model, ROWS), steps=((1.0, seconds),))
    run = bench.run(server, singles, *([batches] if beside else []), seconds=seconds)
    samples = within(run.samples["singles"], _WARM_S, seconds)
    note = f"singles {statuses(samples)}"
    if beside:
        took = 1000 * latency_s(run.samples["batches"], 0.5)
        note += f", batches {statuses(run.samples['batches'])} of {took:.0f} ms"
    return latency_s(samples, 0.99), note.replace("'", "")
