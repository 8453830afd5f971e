"""Shows a person the progress of what takes long: a bar on a terminal, plain lines elsewhere.

Only prints; what is done and for how long is said by the callers.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

# A plain line at most this often: a build of 13 minutes then writes a page, not a book.
PLAIN_SECONDS = 20.0


class Step(Protocol):
    """One thing under way."""

    def at(self, done: int, what: str = "") -> None:
        """Say how far it is and what it is doing."""


class _Bar:
    def __init__(self, progress: Progress, total: int, title: str) -> None:
        self._progress = progress
        self._task = progress.add_task(title, total=total or None, what="")

    def at(self, done: int, what: str = "") -> None:
        self._progress.update(self._task, completed=done, what=what)


class _Lines:
    def __init__(self, reporter: "Reporter", total: int, title: str) -> None:
        self._reporter = reporter
        self._total = total
        self._title = title
        self._next = time.monotonic() + PLAIN_SECONDS

    def at(self, done: int, what: str = "") -> None:
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + PLAIN_SECONDS
            share = f"{done} of {self._total}" if self._total else str(done)
            self._reporter.say(f"  {self._title}: {share} {what}".rstrip())


class Reporter:
    """Writes to standard error, so that what a command prints can be piped."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def say(self, line: str) -> None:
        """Print one line."""
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)

    @contextmanager
    def step(self, title: str, total: int = 0) -> Iterator[Step]:
        """Show a step that takes long; a total of 0 means that it is not known."""
        if not self._console.is_terminal:
            self.say(f"{title} ...")
            yield _Lines(self, total, title)
            return
        columns = (
            TextColumn("{task.description}"),
            BarColumn(bar_width=30),
            TimeElapsedColumn(),
            TextColumn("[dim]{task.fields[what]}"),
        )
        with Progress(*columns, console=self._console, transient=True) as progress:
            yield _Bar(progress, total, title)
