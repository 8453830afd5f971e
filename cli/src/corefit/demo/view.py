"""What a person sees: stages, a live table on a terminal, plain lines elsewhere, the summary. No measuring."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console as RichConsole
from rich.live import Live
from rich.table import Table

from corefit.demo.savings import Savings
from corefit.demo.timeline import Decided, Point
from corefit.demo.verdict import Check
from corefit.load import Summary
from corefit.load.command import milliseconds

PLAIN_EVERY_S = 5.0
"""Seconds between plain lines: 40 of them for a run, which a log file can bear."""


class Console:
    """Prints for one person, by what the terminal can."""

    def __init__(self, rich: RichConsole) -> None:
        self._rich = rich

    def say(self, text: str) -> None:
        """One line."""
        self._rich.print(text, markup=False, highlight=False, soft_wrap=True)

    @contextmanager
    def stage(self, what: str) -> Iterator[None]:
        """Say what begins, and how long it took."""
        self.say(f"==> {what}")
        begun = time.monotonic()
        yield
        self.say(f"    done in {time.monotonic() - begun:.0f} s")

    @contextmanager
    def live(self) -> Iterator["LiveView"]:
        """The view of the run."""
        if not self._rich.is_terminal:
            yield LiveView(self, None)
            return
        with Live(console=self._rich, refresh_per_second=2) as live:
            yield LiveView(self, live)

    def summary(self, load: Summary, saved: Savings, checks: Sequence[Check]) -> None:
        """The last tables."""
        self._rich.print(summary_table(load, saved))
        self._rich.print(checks_table(checks))
        if load.starved:
            self.say(
                "The machine was short of CPU: the generator itself was late. Latencies and refusals, and with them "
                "the replicas that were asked for, are the neighbours' doing as well."
            )


class LiveView:
    """A table that changes in place, or a line now and then."""

    def __init__(self, console: Console, live: Live | None) -> None:
        self._console = console
        self._live = live
        self._next_line_s = 0.0

    def point(self, point: Point) -> None:
        """Show one second."""
        if self._live is not None:
            self._live.update(point_table(point))
        elif point.at_s >= self._next_line_s:
            self._next_line_s = point.at_s + PLAIN_EVERY_S
            self._console.say(plain_line(point))

    def decision(self, made: Decided) -> None:
        """Show a decision; it stays above the table."""
        self._console.say(f"{made.at_s:5.0f} s  {made.replicas} replicas wanted: {made.reason}: {made.message}")


def plain_line(point: Point) -> str:
    """One second in one line."""
    service = point.service
    size = f" x {service.cpu}" if service.cpu else ""
    return (
        f"{point.at_s:5.0f} s  load {point.rate:.0f}/s  in flight {point.in_flight}  "
        f"replicas {service.ready}/{service.wanted}{size}  p50 {milliseconds(point.p50_s)}  "
        f"p99 {milliseconds(point.p99_s)}  shed {point.shed}  lost {point.lost}  {service.cost}"
    )


def point_table(point: Point) -> Table:
    """One second in a table."""
    service = point.service
    table = Table(title=f"corefit demo, {point.at_s:.0f} s", title_justify="left", show_header=False)
    for name, value in (
        ("offered load", f"{point.rate:.0f} requests/s"),
        ("in flight", str(point.in_flight)),
        ("replicas wanted / ready", f"{service.wanted} / {service.ready}"),
        ("CPU of each", service.cpu or "fixed"),
        ("p50 / p99, last 5 s", f"{milliseconds(point.p50_s)} / {milliseconds(point.p99_s)}"),
        ("refused / lost", f"{point.shed} / {point.lost}"),
        ("cost an hour", service.cost),
        ("last decision", f"{service.reason}: {service.message}" if service.reason else "none yet"),
    ):
        table.add_row(name, value)
    return table


def summary_table(load: Summary, saved: Savings) -> Table:
    """The figures of the run."""
    table = Table(title="what it did", title_justify="left", show_header=False)
    for name, value in (
        ("requests answered / refused / lost", f"{load.ok} / {load.shed} / {load.lost}"),
        ("p50 / p99 from the intended send time", f"{milliseconds(load.p50_s)} / {milliseconds(load.p99_s)}"),
        ("generator late, p99", milliseconds(load.late_p99_s)),
        ("pod-seconds, measured", f"{saved.corefit:.0f} in {saved.seconds:.0f} s"),
        ("a fixed number for the peak, computed", f"{saved.static_peak:.0f}: {compared(saved.against_peak)}"),
        ("HPA on 80 % CPU, its defaults, computed", f"{saved.hpa:.0f}: {compared(saved.against_hpa)}"),
    ):
        table.add_row(name, value)
    return table


def compared(share: float) -> str:
    """What Corefit took against another way, in words that stay true when it took more."""
    return f"Corefit took {abs(share):.0%} {'less' if share >= 0 else 'more'}"


def checks_table(checks: Sequence[Check]) -> Table:
    """What had to be so, and was or wasn't."""
    table = Table("check", "", "figures", title="verdict", title_justify="left")
    for check in checks:
        table.add_row(check.what, "[green]yes[/]" if check.passed else "[red]NO[/]", check.detail)
    return table
