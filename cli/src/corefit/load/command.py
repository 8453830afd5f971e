"""`corefit load URL`: the load generator's command line. Exits 1 when requests were lost or none was sent."""

import argparse
import asyncio
import json
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import aiohttp
import msgspec
from rich.console import Console
from rich.table import Table

from corefit.load import progress
from corefit.load.generator import Options, run
from corefit.load.record import Recorder, Summary
from corefit.load.schedule import Step, intended_times
from corefit.load.target import Request, json_request, zeros_request
from corefit_core.errors import InvalidInput

_T = TypeVar("_T")
MOST_PER_S = 10_000
"""Requests: each is kept as a sample of some 150 bytes, and one event loop that has to send more is only late."""
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


def parse_duration(text: str) -> float:
    """`30`, `30s`, `2m` or `500ms` in seconds.

    Raises:
        InvalidInput: anything else, or not above zero.
    """
    number = text.rstrip("hms")
    try:
        seconds = float(number) * _UNITS[text[len(number) :] or "s"]
    except (ValueError, KeyError):
        raise InvalidInput(f"{text!r} is not a duration such as 30s, 2m or 500ms") from None
    if not 0 < seconds < math.inf:
        raise InvalidInput(f"{text!r} is not a duration above zero and finite")
    return seconds


def register(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add `load` to the `corefit` command."""
    parser = subparsers.add_parser(
        "load",
        help="drive open-loop load at an inference URL and measure latency from the intended send time",
        description=__doc__,
    )
    parser.add_argument("url", help="of the inference: http://HOST:PORT/v2/models/NAME/infer")
    parser.add_argument("--rate", type=_checked(_rates), required=True, metavar="R[,R...]", help="requests a second")
    parser.add_argument("--duration", type=_checked(parse_duration), default=30.0, help="of each rate (30s)")
    parser.add_argument("--body", type=Path, help="JSON request to send; without it zeros by the model's metadata")
    parser.add_argument("--rows", type=int, default=1, help="rows of a made-up request (1)")
    parser.add_argument("--even", action="store_true", help="evenly spaced instead of Poisson arrivals")
    parser.add_argument("--seed", type=int, default=0, help="of the arrivals (0)")
    parser.add_argument("--timeout", type=_checked(parse_duration), default=10.0, help="then a request is lost (10s)")
    parser.add_argument("--requests-per-connection", type=int, default=20, help="mean, then it is closed (20)")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    parser.set_defaults(run=command)


def command(arguments: argparse.Namespace) -> int:
    """Run the load; 0 when every request was answered or honestly refused, 1 when some were lost, 2 for misuse.

    1 as well when none was sent, as may be at a low rate: that shows nothing.
    """
    try:
        summary = asyncio.run(_load(arguments))
    except InvalidInput as error:
        print(f"corefit load: {error}", file=sys.stderr)
        return 2
    if arguments.json:
        print(msgspec.json.encode(summary).decode())
    else:
        Console().print(table(summary))
    if not summary.sent:
        print("corefit load: no request was due within --duration. Make it longer, or raise the rate", file=sys.stderr)
    if summary.starved:
        print(f"corefit load: {starved(summary)}", file=sys.stderr)
    return 1 if summary.lost or not summary.sent else 0


def starved(summary: Summary) -> str:
    """That the figures are those of a machine which is short of CPU, and what to do about it."""
    unsure = "the latencies" + (f" and the {summary.lost} lost requests" if summary.lost else "")
    return (
        f"this machine is short of CPU. The load generator was {milliseconds(summary.late_p99_s)} late "
        f"(99th percentile), and once did not run for {milliseconds(summary.stall_s)}. So {unsure} may be its own "
        "doing and not the server's. Stop other programs, lower --rate, or run corefit load on another machine."
    )


def table(summary: Summary) -> Table:
    """The figures for people."""
    grid = Table("figure", "value", title="load, latency from the intended send time", title_justify="left")
    for name in ("sent", "ok", "shed", "error", "wrong"):
        grid.add_row(name, str(getattr(summary, name)))
    for name in ("p50", "p90", "p99", "max", "late_p99"):
        grid.add_row(name.replace("late_p99", "generator late, p99"), milliseconds(getattr(summary, f"{name}_s")))
    grid.add_row("generator stood still, longest", milliseconds(summary.stall_s))
    for detail, count in summary.details.items():
        grid.add_row(f"  {count} x", detail)
    return grid


def milliseconds(seconds: float | None) -> str:
    """For people: `12.3 ms`, or `-` when there is no figure."""
    return "-" if seconds is None else f"{1000 * seconds:.1f} ms"


async def _load(arguments: argparse.Namespace) -> Summary:
    steps = [Step(rate=rate, duration_s=arguments.duration) for rate in arguments.rate]
    options = Options(timeout_s=arguments.timeout, requests_per_connection=arguments.requests_per_connection)
    recorder = Recorder()
    request = await _request(arguments)
    times = intended_times(steps, seed=None if arguments.even else arguments.seed)
    async with progress.shown(recorder, steps, Console(stderr=True)):
        await run(arguments.url, [request], times, recorder=recorder, options=options)
    return recorder.summary()


async def _request(arguments: argparse.Namespace) -> Request:
    if arguments.body is not None:
        return _from_file(arguments.body)
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=arguments.timeout)) as session:
        return await zeros_request(session, arguments.url, rows=arguments.rows)


def _from_file(path: Path) -> Request:
    try:
        return json_request(json.loads(path.read_bytes()))
    except (OSError, ValueError) as error:
        raise InvalidInput(f"--body {path}: {error}") from error


def _rates(text: str) -> list[float]:
    try:
        rates = [float(part) for part in text.split(",")]
    except ValueError:
        raise InvalidInput(f"{text!r} is not a rate or rates such as 20 or 20,80,20") from None
    if not all(0 <= rate <= MOST_PER_S for rate in rates):
        raise InvalidInput(f"{text!r} has a rate that is not from 0 (a pause) to {MOST_PER_S} a second")
    if not any(rates):
        raise InvalidInput(f"{text!r} would send nothing")
    return rates


def _checked(parse: Callable[[str], _T]) -> Callable[[str], _T]:
    """An argument type for argparse, which prints the message of its own exception only."""

    def typed(text: str) -> _T:
        try:
            return parse(text)
        except InvalidInput as error:
            raise argparse.ArgumentTypeError(str(error)) from error

    return typed
