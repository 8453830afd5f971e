"""`corefit`: the command line. Each command is a module with `register(subparsers)`; this one only dispatches."""

import argparse
import sys
from collections.abc import Sequence

from corefit import plan
from corefit.demo import command as demo
from corefit.inject import command as inject
from corefit.load import command as load
from corefit.simulate import options as simulate
from corefit_core.errors import CorefitError


def parser() -> argparse.ArgumentParser:
    """The whole command line."""
    root = argparse.ArgumentParser(prog="corefit", description="CPU inference on Kubernetes that fits its cores")
    commands = root.add_subparsers(title="commands", required=True, metavar="COMMAND")
    plan.register(commands)
    simulate.register(commands)
    load.register(commands)
    inject.register(commands)
    demo.register(commands)
    return root


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status: 2 for what the caller got wrong."""
    parsed = parser().parse_args(arguments)
    try:
        status: int = parsed.run(parsed)
    except CorefitError as error:
        print(f"corefit: {error}", file=sys.stderr)
        return 2
    return status
