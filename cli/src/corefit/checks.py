"""What values options may have: each check names the option. May not know any command."""

import math
import os
from pathlib import Path

from corefit_core.errors import ConfigError


def positive(option: str, value: float, *, zero: bool = False, most: float = math.inf) -> float:
    """The value, which is finite and above zero, or zero where that is allowed, and no larger than `most`.

    Raises:
        ConfigError: it isn't.
    """
    if not (value > 0 or (zero and value == 0)) or math.isinf(value) or value > most:
        bound = "finite" if math.isinf(most) else f"at most {most:g}"
        raise ConfigError(f"{option} {value:g}; it must be {'zero or more' if zero else 'above zero'} and {bound}")
    return value


def percentile(option: str, value: float) -> float:
    """The value, which is between 0 and 100.

    Raises:
        ConfigError: it isn't.
    """
    if not 0 < value < 100:
        raise ConfigError(f"{option} {value}; it must be above 0 and below 100")
    return value


def output(option: str, path: Path) -> Path:
    """The path, at which a file can be made. Asked before the work whose outcome it is for.

    Raises:
        ConfigError: it is a folder, or is in none, or may not be written.
    """
    if path.is_dir():
        raise ConfigError(f"{option} {path}; it is a folder, and must be a file")
    if not path.parent.is_dir():
        raise ConfigError(f"{option} {path}; there is no folder {path.parent}")
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise ConfigError(f"{option} {path}; it may not be written")
    return path
