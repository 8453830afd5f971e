"""`corefit plan`: what a pod with so much CPU would run with, and why. The operator computes the same."""

import argparse
import json

import msgspec

from corefit_core import quantity, sizing


def register(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add `plan` to the `corefit` command."""
    parser = subparsers.add_parser(
        "plan", help="workers, threads and queue depth for a CPU limit", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--cpu", required=True, metavar="QUANTITY", help="the pod's CPU limit: 500m, 2")
    parser.add_argument("--objective-ms", type=float, default=100.0, help="latency objective (100)")
    parser.add_argument("--percentile", type=float, default=99.0, help="of the requests (99)")
    parser.add_argument("--cpus", type=int, help="CPUs in the affinity mask, when they are fewer")
    parser.add_argument("--json", action="store_true", help="print the plan as JSON")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print the plan."""
    grant = sizing.Grant(quota_millicores=quantity.parse_millicores(arguments.cpu), cpus=arguments.cpus)
    objective = sizing.Objective(percentile=arguments.percentile, latency_s=arguments.objective_ms / 1000)
    plan = sizing.plan(grant, objective)
    if arguments.json:
        print(json.dumps(msgspec.structs.asdict(plan)))
        return 0
    print(f"workers             {plan.workers}")
    print(f"threads per worker  {plan.threads_per_worker}")
    print(f"queue depth         {plan.queue_depth}")
    print(f"why                 {plan.why}")
    return 0
