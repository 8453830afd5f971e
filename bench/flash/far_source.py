"""A model server that is far away: gives each file in so many seconds, whoever else asks meanwhile. In the pod.

What takes time in a start elsewhere is the way of images and models, which here are on the node already.
"""

import argparse
import time
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from typing import IO, Any

PIECES = 100


class Handler(SimpleHTTPRequestHandler):
    """Sends a file piece by piece."""

    def __init__(self, *given: Any, seconds: float, directory: str) -> None:
        self._seconds = seconds
        super().__init__(*given, directory=directory)

    def copyfile(self, source: IO[bytes], outputfile: IO[bytes]) -> None:  # type: ignore[override]  # typeshed: AnyStr
        """All of the file, in the time that was said."""
        content = source.read()
        size = -(-len(content) // PIECES)
        for begin in range(0, len(content), size):
            outputfile.write(content[begin : begin + size])
            outputfile.flush()
            time.sleep(self._seconds / PIECES)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class names it so
        """Nothing."""


def main() -> int:
    """Serve until killed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--directory", required=True)
    parser.add_argument("--seconds", type=float, required=True)
    arguments = parser.parse_args()
    handler = partial(Handler, seconds=arguments.seconds, directory=arguments.directory)
    ThreadingHTTPServer(("0.0.0.0", 8000), handler).serve_forever()  # noqa: S104 - a pod is reached by its address
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
