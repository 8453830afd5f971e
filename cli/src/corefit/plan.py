"""`corefit plan`: what a pod with so much CPU would run with, and why. The operator computes the same."""

import argparse
import json

from corefit.checks import percentile, positive
from corefit_core import quantity, sizing
from corefit_core.errors import ConfigError, InvalidInput

_FIGURES = ("workers", "threads_per_worker", "queue_depth", "why")
"""What `--json` prints of a plan."""


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
    objective = sizing.Objective(
        percentile=percentile("--percentile", arguments.percentile),
        latency_s=positive("--objective-ms", arguments.objective_ms) / 1000,
    )
    plan = sizing.plan(_grant(arguments), objective)
    if arguments.json:
        print(json.dumps({name: getattr(plan, name) for name in _FIGURES}))
        return 0
    print(f"workers             {plan.workers}")
    print(f"threads per worker  {plan.threads_per_worker}")
    print(f"queue depth         {plan.queue_depth}")
    print(f"why                 {plan.why}")
    return 0


def _grant(arguments: argparse.Namespace) -> sizing.Grant:
    try:
        millicores = quantity.parse_millicores(arguments.cpu)
    except InvalidInput as error:
        raise ConfigError(f"--cpu: {error}") from error
    if millicores < sizing.MIN_MILLICORES:
        raise ConfigError(f"--cpu {arguments.cpu}; the runtime needs at least {sizing.MIN_MILLICORES}m to start")
    if arguments.cpus is not None:
        positive("--cpus", arguments.cpus)
    return sizing.Grant(quota_millicores=millicores, cpus=arguments.cpus)
