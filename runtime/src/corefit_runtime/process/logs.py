"""Logging to standard error: one JSON object a line for collectors, or text for people."""

import json
import logging
import sys
import time
from typing import TYPE_CHECKING, Any

from corefit_core.text import one_line

if TYPE_CHECKING:
    from corefit_runtime.http.messages import Head


class JsonFormatter(logging.Formatter):
    """Time (UTC, RFC 3339), level, logger, message; the traceback where there is one."""

    def format(self, record: logging.LogRecord) -> str:
        """One line."""
        moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        line = {
            "time": f"{moment}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return json.dumps(line)


class TextFormatter(logging.Formatter):
    """Time, level, logger and message in one line, whatever a client sent; a traceback follows, indented."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(name)s: %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the base class names it
        """The line."""
        return one_line(super().formatMessage(record))

    def formatException(self, ei: Any) -> str:  # noqa: N802 - the base class names it
        """The traceback: no line of it looks like one of the log."""
        return "\n".join("    " + one_line(line) for line in super().formatException(ei).splitlines())


def configure(level: str, form: str) -> None:
    """Sends everything to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if form == "json" else TextFormatter())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)


def access(head: "Head | None", status: int, seconds: float) -> None:
    """One line for an answer; of a request whose head could not be read nothing is known but this."""
    asked = f"{head.method.decode()} {head.path}" if head is not None else "- -"
    logging.getLogger("corefit.access").info("%s %d %.2f ms", asked, status, 1000 * seconds)
