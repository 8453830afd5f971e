"""Logs failures: a warning for what the error tree foresees, a traceback for a fault of Corefit's."""

import logging
from typing import Final

from corefit_core.errors import CorefitError

INTERNAL: Final = "InternalError"
"""The reason of whatever isn't of the error tree."""


def warned(log: logging.Logger, consequence: str, error: Exception) -> tuple[str, str]:
    """Logs the error with what follows from it; returns its reason and message for states and notes."""
    if isinstance(error, CorefitError):
        log.warning("%s: %s", consequence, error)
        return error.reason, str(error)
    log.error("%s: a fault in Corefit", consequence, exc_info=error)
    return INTERNAL, f"{type(error).__name__}: {error}"
