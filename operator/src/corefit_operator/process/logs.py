"""The operator's log: one line a record on standard error, whatever pods and resources say."""

import logging
import sys
from typing import Any

from corefit_core.text import one_line


class OneLineFormatter(logging.Formatter):
    """Time, level, logger and message in one line; a traceback follows, indented."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the base class names it
        """The line."""
        return one_line(super().formatMessage(record))

    def formatException(self, ei: Any) -> str:  # noqa: N802 - the base class names it
        """The traceback: no line of it looks like one of the log."""
        return "\n".join("    " + one_line(line) for line in super().formatException(ei).splitlines())


def configure(level: str) -> None:
    """Sends everything to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(OneLineFormatter())
    logging.basicConfig(level=level.upper(), handlers=[handler])
