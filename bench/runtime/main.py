"""`python bench/runtime/run.py [--quick] [--only NAME...]`: runs the experiments, prints and writes the findings."""

import argparse
import os
import signal
import sys
from collections.abc import Callable, Sequence
from typing import Final

from bench.runtime import fronts, limits, memory, mixed, overload, priority, queues, results, speed, spinning
from bench.runtime.harness import Bench, opened

EXPERIMENTS: Final[dict[str, Callable[[Bench], None]]] = {
    "5ms": lambda bench: speed.against_raw(bench, "5ms", 0.92),
    "20ms": lambda bench: speed.against_raw(bench, "20ms", 0.97),
    "tiny": speed.against_bare,
    "load": overload.loaded,
    "limit": limits.against_naive,
    "mixed": mixed.traffic,
    "workers": memory.workers,
    "queues": queues.compared,
    "spinning": spinning.measured,
    "fronts": fronts.measured,
    "memory": memory.growth,
}

_UNTIMED: Final = {"memory", "workers"}
"""Experiments that neighbours can't disturb, and that needn't disturb them."""


def main(argv: Sequence[str] | None = None) -> int:
    """0 when every target was seen to be met, 1 when not, 2 when an experiment could not be run."""
    arguments = _arguments(argv)
    # As an exception, so that servers, cgroups and folders are cleared away; by default SIGTERM would leave them.
    signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(128 + number))
    if set(arguments.only or EXPERIMENTS) - _UNTIMED:
        priority.go_first()
    failed = False
    with opened(quick=arguments.quick, server_cpu=arguments.server_cpu, client_cpu=arguments.client_cpu) as bench:
        for name in arguments.only or EXPERIMENTS:
            print(f"running {name} ...", file=sys.stderr, flush=True)
            bench.worst = 0.0
            try:
                EXPERIMENTS[name](bench)
            except (OSError, RuntimeError) as error:
                print(f"{name} could not be run: {error}", file=sys.stderr)
                failed = True
        results.show(bench)
        results.save(bench, keep=arguments.only is not None)
    if failed:
        return 2
    return 0 if all(finding.met for finding in bench.findings if finding.wanted) else 1


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="What the runtime costs beside onnxruntime itself.")
    parser.add_argument("--quick", action="store_true", help="fewer and shorter windows: about 3 minutes")
    parser.add_argument(
        "--only",
        nargs="+",
        choices=list(EXPERIMENTS),
        metavar="NAME",
        help=", ".join(EXPERIMENTS) + "; the results of the others are kept",
    )
    parser.add_argument("--server-cpu", type=int, default=0, help="that the contenders are pinned to (0)")
    parser.add_argument("--client-cpu", type=int, default=1, help="that the client is pinned to (1)")
    arguments = parser.parse_args(argv)
    if missing := {arguments.server_cpu, arguments.client_cpu} - os.sched_getaffinity(0):
        parser.error(f"CPU {', '.join(map(str, sorted(missing)))} is not ours to use: --server-cpu, --client-cpu")
    return arguments


if __name__ == "__main__":
    raise SystemExit(main())
