"""Running other programs: by argument lists, with their output in the error when they fail."""

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from corefit_devcluster.errors import DevclusterError
from corefit_devcluster.needs import PACKAGES

# Beyond PATH: where administrators' programs are that a user's PATH may lack.
ADMINISTRATORS = "/usr/local/sbin:/usr/sbin:/sbin"

# The end of a failed program's output that is shown: enough for an error and its context.
TAIL_LINES = 15


def which(name: str, env: Mapping[str, str] | None = None) -> str | None:
    """Find a program in PATH and where administrators' programs are."""
    return shutil.which(name, path=f"{(env or os.environ).get('PATH', os.defpath)}:{ADMINISTRATORS}")


def tail(text: str, lines: int = TAIL_LINES) -> str:
    """Keep the last lines."""
    return "\n".join(text.rstrip().splitlines()[-lines:])


def run(
    command: Sequence[str | Path],
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    input_text: str | None = None,
    timeout: float | None = None,
) -> str:
    """Run a program to its end and return its standard output; DevclusterError when it fails."""
    arguments = [str(part) for part in command]
    found = which(arguments[0], env)
    if found is None:
        package = PACKAGES.get(arguments[0], "")
        hint = f"Install Debian's package {package}:  apt-get install {package}" if package else ""
        raise DevclusterError(f"{arguments[0]} is not installed on this machine", hint=hint)
    try:
        done = subprocess.run(
            [found, *arguments[1:]],
            cwd=cwd,
            env=env,
            input=input_text,
            timeout=timeout,
            capture_output=True,
            text=True,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise DevclusterError(f"{' '.join(arguments)} did not end within {timeout:.0f} s") from error
    if done.returncode != 0:
        said = tail(done.stderr or done.stdout)
        raise DevclusterError(f"{' '.join(arguments)} failed with status {done.returncode}:\n{said}")
    return done.stdout


def succeeds(command: Sequence[str | Path], *, env: Mapping[str, str] | None = None, timeout: float = 30.0) -> bool:
    """Say whether a program ends well."""
    try:
        run(command, env=env, timeout=timeout)
    except DevclusterError:
        return False
    return True
