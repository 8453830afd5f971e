"""`corefit simulate TRACE`: its options. Light: the simulator itself (numba, numpy) is imported when it runs."""

import argparse
import importlib
from pathlib import Path

from corefit.simulate import policies
from corefit_core.defaults import DOWN_STABILIZATION_S
from corefit_core.recommender import NAIVE_THROUGHPUT


def register(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add `simulate` to the `corefit` command."""
    parser = subparsers.add_parser(
        "simulate",
        help="what a trace would have cost, and how it would have been served, by policy",
        description="Simulates each request of a trace under Corefit and other autoscalers.",
        epilog="Traces: one count a second a line; CSV with a request a row and a column `timestamp`; JSON lines of "
        'recorded reports {"at": seconds, "pod": uid, "report": {...}}. All may be gzipped.',
    )
    add = parser.add_argument
    add("trace", type=Path, metavar="TRACE", help="the file")
    add("--scale", type=float, default=1.0, metavar="FACTOR", help="times the trace's requests (1)")
    add(
        "--policy",
        action="append",
        metavar="NAME",
        help=f"{policies.usage()} (all but reactive); repeatable (corefit)",
    )
    add("--json", type=Path, metavar="OUT", help="write the outcomes as JSON ('-': to standard output)")
    add("--plot", type=Path, metavar="OUT.png", help="draw load, capacity, p99 and cost")
    _service(parser)
    _flaws(parser)


def _service(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("the service").add_argument
    add("--service-ms", type=float, default=50.0, help="mean time that a request takes a worker (50)")
    add("--service-cv", type=float, default=0.3, help="its standard deviation over its mean (0.3)")
    add("--workers", type=int, default=2, help="workers, and cores, of a pod (2)")
    add("--startup-s", type=float, default=20.0, help="from asking for a pod until it serves (20)")
    add("--drain-s", type=float, default=5.0, help="from deleting a pod until it is gone (5)")
    add("--objective-ms", type=float, default=150.0, help="a later answer misses the objective (150)")
    add("--percentile", type=float, default=99.0, help="percent of the requests that are to be in time (99)")
    add(
        "--balancing",
        choices=("least-loaded", "random", "central", "auto"),
        default="least-loaded",
        help="who gets a request: the pod with the fewest, any pod, one queue for all, or as "
        "Corefit's routing.balancing Auto: any pod, or the one with the fewest while that saves more than the "
        "balancer takes, which is counted (least-loaded)",
    )
    add(
        "--cpu-range",
        metavar="MIN:MAX",
        help="cores that Corefit may resize a pod to while it runs, as 1:4 (none: as many as workers, always)",
    )
    add(
        "--headroom", type=float, default=100.0, help="CPU free on the nodes, percent of what the pods begin with (100)"
    )
    add(
        "--down-window-s",
        type=float,
        help="Corefit: it keeps replicas for so many seconds after they were needed "
        f"({DOWN_STABILIZATION_S:g}, or two start-ups if longer)",
    )
    add("--max-replicas", type=int, default=1000, help="for every policy (1000)")
    add(
        "--unsized",
        type=float,
        default=NAIVE_THROUGHPUT,
        help=f"naive: an unsized pod's throughput over a sized one's ({NAIVE_THROUGHPUT}, by `make bench`)",
    )
    add("--seed", type=int, default=1, help="of arrivals within a second, service times and balancing (1)")
    parser.set_defaults(run=run)


def _flaws(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("what is wrong with the reports that Corefit gets").add_argument
    add("--reports-late-s", type=float, default=0.0, help="age of a report when it is read (0)")
    add("--reports-silent", type=float, default=0.0, help="share of pods that do not answer a round (0)")
    add("--reports-service-factor", type=float, default=1.0, help="measured over true service time (1)")


def run(arguments: argparse.Namespace) -> int:
    """Run the simulator."""
    status: int = importlib.import_module("corefit.simulate.command").run(arguments)
    return status
