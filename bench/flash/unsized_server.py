"""What a pod runs when nobody sized its server: a thread a request, onnxruntime's threads by default. In the pod.

onnxruntime starts a thread for each physical core of the node, whatever the limit says, and they spin while they wait:
16 on a node of 16 cores. This machine has fewer, so the number is given. It speaks as much of the Open Inference
Protocol as the bench's client needs, from the runtime's image.
"""

import argparse
import json
import socketserver
from http.server import BaseHTTPRequestHandler
from typing import Any, ClassVar
from urllib.request import urlopen

import numpy as np
import onnxruntime as ort


class Handler(BaseHTTPRequestHandler):
    """Reads a tensor from JSON, runs the model, answers in JSON."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    session: ClassVar[Any] = None

    def do_GET(self) -> None:
        """Ready: the model is loaded before the port is open."""
        self._answer(b"{}")

    def do_POST(self) -> None:
        """Infer."""
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["inputs"][0]
        tensor = np.array(asked["data"], np.float32).reshape(asked["shape"])
        (output,) = self.session.get_outputs()
        found = self.session.run(None, {self.session.get_inputs()[0].name: tensor})[0]
        told = {"name": output.name, "datatype": "FP32", "shape": list(found.shape), "data": found.ravel().tolist()}
        self._answer(json.dumps({"outputs": [told]}).encode())

    def _answer(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

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
    parser.add_argument("--model", required=True, help="its URL")
    parser.add_argument("--threads", type=int, default=16, help="that onnxruntime would start on the node (16)")
    arguments = parser.parse_args()
    options = ort.SessionOptions()
    options.intra_op_num_threads = arguments.threads
    with urlopen(arguments.model) as response:  # noqa: S310 - http, as the bench says
        model = response.read()
    Handler.session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    with Server(("0.0.0.0", 8080), Handler) as server:  # noqa: S104 - a pod is reached by its address
        server.serve_forever()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
