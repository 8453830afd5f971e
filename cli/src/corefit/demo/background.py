"""A program that runs while the demo shows something else; what it says of its progress appears among the lines."""

import os
import shlex
import signal
import threading
from contextlib import suppress
from typing import Self

from corefit.demo.tools import StepFailed, Tools
from corefit.demo.view import Console


class Background:
    """Runs from the beginning of the context; the end of the context ends it, and what it has started."""

    def __init__(self, tools: Tools, console: Console, *command: str) -> None:
        self._tools = tools
        self._console = console
        self._command = command
        self._said: list[str] = []

    def __enter__(self) -> Self:
        self._process = self._tools.begin(*self._command)
        self._reader = threading.Thread(target=self._relay, daemon=True)
        self._reader.start()
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGTERM)
        self._process.wait()
        self._reader.join()
        if self._process.stderr is not None:
            self._process.stderr.close()

    def wait(self) -> None:
        """Wait for its end.

        Raises:
            StepFailed: it ended badly; the message has what it said.
        """
        status = self._process.wait()
        self._reader.join()
        if status != 0:
            raise StepFailed(f"{shlex.join(self._command)} ended with status {status}: {''.join(self._said)}")

    def _relay(self) -> None:
        for line in self._process.stderr or ():
            self._said.append(line)
            self._console.say(f"    | {line.rstrip()}")
