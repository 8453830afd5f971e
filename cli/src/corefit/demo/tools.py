"""Runs corefit-devcluster, helm and kubectl, as a person would at a shell. May not interpret what they say."""

import asyncio
import os
import shlex
import shutil
import subprocess
from collections.abc import AsyncGenerator, AsyncIterable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from corefit_core.errors import CorefitError


class StepFailed(CorefitError):
    """A program that the demo runs has failed; the message names it and what it said."""


class Tools:
    """The three programs, with the environment that points them at one cluster.

    Args:
        root: the checkout, where they run.
        environment: variables of the programs, PATH and KUBECONFIG among them.
    """

    def __init__(self, root: Path, environment: Mapping[str, str]) -> None:
        self._root = root
        self._environment = dict(environment)

    @property
    def environment(self) -> dict[str, str]:
        """A copy of it, for programs that are run in other ways."""
        return dict(self._environment)

    def run(self, *command: str, quiet: bool = False) -> str:
        """Run to the end and return the standard output.

        Args:
            command: the program and its arguments.
            quiet: keeps standard error, which otherwise goes to the terminal, for a command that may well fail.

        Raises:
            StepFailed: not found, or a status other than 0.
        """
        try:
            done = subprocess.run(
                self._resolved(command),
                cwd=self._root,
                env=self._environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL if quiet else None,
                text=True,
                check=True,
            )
        except subprocess.CalledProcessError as error:
            raise StepFailed(f"{shlex.join(command)} ended with status {error.returncode}: {error.stdout}") from error
        return done.stdout

    def json(self, *command: str) -> Any:
        """Run, and decode what was printed."""
        return msgspec.json.decode(self.run(*command))

    async def stream(self, *command: str) -> AsyncGenerator[Any, None]:
        """The JSON documents that a program prints one after the other, until it ends or is no longer wanted.

        Raises:
            StepFailed: it ended by itself.
        """
        process = await asyncio.create_subprocess_exec(
            *self._resolved(command), cwd=self._root, env=self._environment, stdout=asyncio.subprocess.PIPE, limit=2**22
        )
        assert process.stdout is not None  # noqa: S101 - a pipe was asked for
        try:
            async for document in documents(process.stdout):
                yield document
            raise StepFailed(f"{shlex.join(command)} ended")
        finally:
            if process.returncode is None:
                process.terminate()
            await process.wait()

    def begin(self, *command: str) -> "subprocess.Popen[str]":
        """Start a program in a session of its own, with its progress (standard error) in a pipe."""
        return subprocess.Popen(
            self._resolved(command),
            cwd=self._root,
            env=self._environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def with_cluster(self, exports: str) -> "Tools":
        """The same programs, with the variables that `corefit-devcluster env` prints."""
        return Tools(self._root, exported(exports, self._environment))

    def _resolved(self, command: tuple[str, ...]) -> list[str]:
        """The program by *our* PATH variable, which `subprocess` would look up in this process's own."""
        program = shutil.which(command[0], path=self._environment.get("PATH", os.defpath))
        if program is None:
            raise StepFailed(f"{command[0]} is not in PATH: run `make demo`, which brings it")
        return [program, *command[1:]]


async def documents(lines: AsyncIterable[bytes]) -> AsyncGenerator[Any, None]:
    """The documents of `kubectl get --watch --output json`: indented, each one closed by a brace in column 0."""
    held = b""
    async for line in lines:
        held += line
        if line.rstrip() == b"}":
            yield msgspec.json.decode(held)
            held = b""


def exported(exports: str, environment: Mapping[str, str]) -> dict[str, str]:
    """The environment after lines such as `export PATH=/x:$PATH`."""
    changed = dict(environment)
    for line in exports.splitlines():
        words = shlex.split(line)
        if len(words) == 2 and words[0] == "export":
            name, _, value = words[1].partition("=")
            changed[name] = value.replace(f"${name}", environment.get(name, ""))
    return changed
