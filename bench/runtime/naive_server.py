"""What a CPU limit meets when nobody sized the server: a thread for each request, onnxruntime's threads by default.

On a node of 16 cores its default is 16 intra-op threads, which spin while they wait, whatever the limit says; here
the number is given, because this machine has fewer. Otherwise a plain threading HTTP server over the same model.
"""

import argparse
import socketserver
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import onnxruntime as ort


class Handler(BaseHTTPRequestHandler):
    """Reads a tensor, runs the model, sends the bytes."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    runner: ClassVar[Any] = None

    def do_POST(self) -> None:
        """Infer."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        (node,) = self.runner.get_inputs()
        offset = int(self.headers["Inference-Header-Content-Length"])
        tensor = np.frombuffer(body, np.float32, offset=offset).reshape((-1, *node.shape[1:]))
        answer = self.runner.run(None, {node.name: tensor})[0].tobytes()
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class names it so
        """Nothing: a line a request is not what is measured."""


class Server(socketserver.ThreadingTCPServer):
    """A thread a connection."""

    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 1024


def main() -> int:
    """Serve until killed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--threads", type=int, default=16, help="that onnxruntime would start on the node (16)")
    arguments = parser.parse_args()
    options = ort.SessionOptions()
    options.intra_op_num_threads = arguments.threads
    Handler.runner = ort.InferenceSession(arguments.model, options, providers=["CPUExecutionProvider"])
    with Server(("127.0.0.1", arguments.port), Handler) as server:
        server.serve_forever()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
