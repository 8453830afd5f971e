"""How long this tool waits before something counts as failed, on machines that are slower than most.

Each deadline is generous for two busy cores. An emulated machine takes ten times as long for everything: one
variable stretches all deadlines alike.
"""

import math
import os
from collections.abc import Mapping

from corefit_devcluster.errors import DevclusterError

VARIABLE = "COREFIT_DEADLINE_SCALE"


def scale(environment: Mapping[str, str] = os.environ) -> float:
    """Read the factor by which deadlines are stretched; DevclusterError when it is no number from 1 up."""
    text = environment.get(VARIABLE) or "1"
    try:
        factor = float(text)
    except ValueError:
        factor = math.nan
    if not 1 <= factor < math.inf:
        raise DevclusterError(
            f"{VARIABLE} is {text!r}, which is not a number from 1 up",
            hint=f"{VARIABLE}=5 waits five times as long as usual before a start counts as failed.",
        )
    return factor


def stretched(seconds: float) -> float:
    """Stretch a deadline of so many seconds by the factor of this machine."""
    return seconds * scale()
