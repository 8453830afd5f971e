"""What the runtime has to show: `python -m bench.runtime.run [SCENARIO...] [--rounds N] [--seconds S]`.

Server on one CPU, generator on the other; the things compared take turns (A B A B), the ratio is that of the
medians. Runs in which others took more than 5 % of the server's CPU are thrown away and counted; where none is
left, the ratio is of what there was, and says so. Writes bench/results/runtime.json, .md and .png.
"""

import argparse
import asyncio
import json
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import uvloop
from bench.models.generate import ensure
from bench.runtime import client, servers
from bench.runtime.servers import Server

RESULTS: Final = Path(__file__).parents[1] / "results"
IMAGE: Final = (1, 3, 224, 224)
STOLEN_MAX: Final = 0.05
Row = dict[str, Any]


def drive(server: Server, request: bytes, **options: Any) -> client.Outcome:
    """One run of the generator, on its own CPU."""
    return asyncio.Runner(loop_factory=uvloop.new_event_loop).run(client.drive(server.port, request, **options))


class Watch:
    """Over a run: the server's CPU seconds, and the share of its CPU that others took."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._cpu, self._busy, self._begin = server.cpu_seconds(), servers.cpu_busy_seconds(0), time.monotonic()

    def read(self) -> tuple[float, float]:
        """CPU seconds and stolen share since the start."""
        cpu = self._server.cpu_seconds() - self._cpu
        stolen = servers.cpu_busy_seconds(0) - self._busy - cpu
        return cpu, max(0.0, stolen / (time.monotonic() - self._begin))


def measured(server: Server, request: bytes, seconds: float, connections: int) -> Row:
    """Closed loop: answers a second and CPU seconds an answer."""
    watch = Watch(server)
    outcome = drive(server, request, seconds=seconds, connections=connections)
    cpu, stolen = watch.read()
    answers = max(1, len(outcome.latencies))
    return {"rate": answers / outcome.seconds, "cpu": cpu / answers, "stolen": stolen, "errors": outcome.errors}


def raw(model: Path, seconds: float) -> Row:
    """onnxruntime alone. Others' share is what it waited for the CPU."""
    told = servers.raw(model, seconds)
    stolen = 1 - told["cpu"] / told["seconds"]
    return {"rate": told["runs"] / told["seconds"], "cpu": told["cpu"] / told["runs"], "stolen": stolen, "errors": 0}


def compare(name: str, ours: Callable[[], Row], theirs: Callable[[], Row], rounds: int, goal: str) -> Row:
    """A B A B ...: the ratio of medians of throughput, and of CPU seconds a request."""
    pairs = [(ours(), theirs()) for _ in range(rounds)]
    quiet = [p for p in pairs if max(p[0]["stolen"], p[1]["stolen"]) <= STOLEN_MAX]
    kept = quiet or pairs
    a, b = ([pair[i] for pair in kept] for i in (0, 1))
    median = statistics.median
    return {
        "scenario": name,
        "throughput ratio": median(r["rate"] for r in a) / median(r["rate"] for r in b),
        "cpu ratio": median(r["cpu"] for r in b) / median(r["cpu"] for r in a),
        "rate": median(r["rate"] for r in a),
        "baseline rate": median(r["rate"] for r in b),
        "thrown away": f"{len(pairs) - len(quiet)} of {len(pairs)}",
        "undisturbed": bool(quiet),
        "errors": sum(r["errors"] for r in a),
        "goal": goal,
    }


def against_raw(name: str, rounds: int, seconds: float) -> list[Row]:
    """Throughput through HTTP over raw onnxruntime, 600 KB inputs."""
    model, request = ensure(name), client.binary_request(IMAGE, "input")
    goal = {"5ms": ">= 0.92", "20ms": ">= 0.97"}[name]
    with servers.corefit(model, "--objective-ms", "2000") as server:
        drive(server, request, seconds=1, connections=4)
        ours = lambda: measured(server, request, seconds, 4)  # noqa: E731
        return [compare(f"{name} / raw onnxruntime", ours, lambda: raw(model, seconds), rounds, goal)]


def against_aiohttp(rounds: int, seconds: float) -> list[Row]:
    """Requests a second with a model of 10 us."""
    model = ensure("tiny")
    with servers.corefit(model) as ours, servers.bare_aiohttp(model) as theirs:
        [shape] = [s for s in [ours_shape(ours)] if s]
        request = client.binary_request(shape, "input")
        for server in (ours, theirs):
            drive(server, request, seconds=1, connections=16)
        return [
            compare(
                "tiny / bare aiohttp",
                lambda: measured(ours, request, seconds, 16),
                lambda: measured(theirs, request, seconds, 16),
                rounds,
                ">= 1",
            )
        ]


def ours_shape(server: Server) -> tuple[int, ...]:
    """The shape of one row of the model that is served."""
    import urllib.request

    with urllib.request.urlopen(f"http://127.0.0.1:{server.port}/v2/models/m") as response:  # noqa: S310 - our own
        shape = json.load(response)["inputs"][0]["shape"]
    return tuple(1 if d < 0 else d for d in shape)


def overload(rounds: int, seconds: float) -> list[Row]:
    """Offered 80, 120 and 200 % of capacity, open loop: goodput within five times the unloaded median."""
    model, request = ensure("5ms"), client.binary_request(IMAGE, "input")
    with servers.corefit(model, "--objective-ms", "2000") as server:
        drive(server, request, seconds=1, connections=1)
        unloaded = drive(server, request, seconds=3, connections=1).quantile(0.5)
        capacity = measured(server, request, seconds, 4)["rate"]
    rows = []
    objective_ms = 5 * 1000 * unloaded
    with servers.corefit(model, "--objective-ms", f"{objective_ms:.2f}") as server:
        drive(server, request, seconds=1, connections=1)
        for load in (0.8, 1.2, 2.0):
            for turn in range(rounds):
                watch = Watch(server)
                rate = load * capacity
                outcome = drive(server, request, seconds=seconds, connections=64, rate=rate, seed=turn)
                _, stolen = watch.read()
                good = outcome.within(5 * unloaded)
                rows.append(
                    {
                        "scenario": f"load {load:.0%}",
                        "p99 / unloaded p50": outcome.quantile(0.99) / unloaded,
                        "goodput / capacity": good / min(rate, capacity),
                        "refused": outcome.refused,
                        "answered": len(outcome.latencies),
                        "errors": outcome.errors,
                        "stolen": stolen,
                        "goal": "p99 <= 2.5" if load < 1 else "goodput >= 0.95",
                    }
                )
    return rows


def mixed(rounds: int, seconds: float) -> list[Row]:
    """Single rows beside one client that sends batches of 512: the p99 may rise by the length of one chunk."""
    model = ensure("mlp")
    single, batch = (client.binary_request((rows, 784), "input") for rows in (1, 512))
    rows = []
    with servers.corefit(model, "--objective-ms", "2000") as server:
        chunk = server.report()["plan"].get("chunk_rows", 0)
        drive(server, single, seconds=1, connections=4)

        async def both(turn: int) -> client.Outcome:
            singles = client.drive(server.port, single, seconds=seconds, connections=16, rate=50, seed=turn)
            batches = client.drive(server.port, batch, seconds=seconds, connections=1)
            return (await asyncio.gather(singles, batches))[0]

        for turn in range(rounds):
            alone = drive(server, single, seconds=seconds, connections=16, rate=50, seed=turn)
            beside = asyncio.Runner(loop_factory=uvloop.new_event_loop).run(both(turn))
            rise = 1000 * (beside.quantile(0.99) - alone.quantile(0.99))
            rows.append({"scenario": "single rows beside 512", "chunk rows": chunk, "p99 rise ms": rise,
                         "p99 alone ms": 1000 * alone.quantile(0.99), "goal": "<= one chunk (10 ms)"})  # fmt: skip
    return rows


SCENARIOS: Final[dict[str, Callable[[int, float], list[Row]]]] = {
    "5ms": lambda rounds, seconds: against_raw("5ms", rounds, seconds),
    "20ms": lambda rounds, seconds: against_raw("20ms", rounds, seconds),
    "tiny": against_aiohttp,
    "overload": overload,
    "mixed": mixed,
}


def main() -> None:
    """Runs what is asked for, prints and writes the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("scenarios", nargs="*", default=list(SCENARIOS), help=f"of {', '.join(SCENARIOS)}")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4.0)
    arguments = parser.parse_args()
    os.sched_setaffinity(0, {servers.CLIENT_CPU})
    rows: list[Row] = []
    for name in arguments.scenarios:
        for row in SCENARIOS[name](arguments.rounds, arguments.seconds):
            print(line(row), flush=True)
            rows.append(row)
    write(rows, RESULTS)


def line(row: Row) -> str:
    """One row as text."""
    return ", ".join(f"{k}: {v:.3f}" if isinstance(v, float) else f"{k}: {v}" for k, v in row.items())


def write(rows: list[Row], folder: Path) -> None:
    """The results as JSON, as text, and as a picture of the ratios."""
    folder.mkdir(exist_ok=True)
    (folder / "runtime.json").write_text(json.dumps(rows, indent=1) + "\n")
    (folder / "runtime.md").write_text("".join(f"- {line(row)}\n" for row in rows))
    ratios = [(r["scenario"], r["throughput ratio"], r["cpu ratio"]) for r in rows if "throughput ratio" in r]
    if not ratios:
        return
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(8, 4))
    places = range(len(ratios))
    axes.bar([p - 0.2 for p in places], [r[1] for r in ratios], 0.4, label="throughput")
    axes.bar([p + 0.2 for p in places], [r[2] for r in ratios], 0.4, label="requests a CPU second")
    axes.set_xticks(list(places), [r[0] for r in ratios])
    axes.axhline(1, color="grey", linewidth=0.8)
    axes.set_ylabel("Corefit / baseline")
    axes.legend()
    figure.savefig(folder / "runtime.png", dpi=120, bbox_inches="tight")


if __name__ == "__main__":
    main()
