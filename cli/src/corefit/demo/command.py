"""`corefit demo`: the demo's command line."""

import argparse
import importlib
import os
from pathlib import Path

from rich.console import Console as RichConsole

from corefit.demo.settings import Settings, checkout
from corefit.demo.view import Console


def register(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add `demo` to the `corefit` command."""
    text = "a real cluster, a real model, real load: see replicas follow it, and what that saves"
    parser = subparsers.add_parser("demo", help=text, description=text)
    keep = os.environ.get("KEEP", "") not in {"", "0"}
    parser.add_argument("--keep", action="store_true", default=keep, help="leave the cluster (also KEEP=1)")
    parser.add_argument("--name", default="demo", help="of the cluster (demo)")
    parser.add_argument("--output", type=Path, default=Path(".demo"), help="folder for the picture (.demo)")
    parser.add_argument("--rate", type=float, default=8.0, help="base load, requests/s (8)")
    parser.set_defaults(run=command)


def command(arguments: argparse.Namespace) -> int:
    """Run the demo; 0 only when all that it is to show was so."""
    # Late: half a second of matplotlib is nothing for `corefit plan` to wait for.
    program = importlib.import_module("corefit.demo.program")
    settings = Settings(
        root=checkout(),
        output=arguments.output.resolve(),
        cluster=arguments.name,
        keep=arguments.keep,
        base_rate=arguments.rate,
    )
    status: int = program.Demo(settings, Console(RichConsole())).run()
    return status
