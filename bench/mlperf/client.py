"""MLPerf's load generator against a running server: `client.py JOB`, and a line of JSON with what it found.

LoadGen's Server scenario sends queries at Poisson times and judges itself whether the latency's percentile is within
the target, by its own rules (early stopping included). This program only carries queries to the server and answers
back. A query that isn't answered with 200 counts as late: it is completed after twice the target.
"""

import socket
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import mlperf_loadgen as loadgen
import msgspec

THREADS: Final = 64
"""Queries that are under way at once, each on a connection of its own."""
SAMPLES: Final = 1024
TIMEOUT_S: Final = 60.0


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """What to send where.

    Attributes:
        rate: queries a second.
        target_ms: the latency objective.
        percentile: percent of the queries that it is for.
        seconds: least duration of the run.
        queries: least number of queries.
    """

    port: int
    request_file: str
    rate: float
    target_ms: float
    percentile: float
    seconds: float
    queries: int
    folder: str


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What LoadGen says, in its own words, and what was answered."""

    result: str
    summary: dict[str, str]
    answered: int
    refused: dict[str, int]


class Carrier:
    """Carries queries to the server, a connection a thread."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._request = Path(job.request_file).read_bytes()
        self._local = threading.local()
        self._lock = threading.Lock()
        self._pool = ThreadPoolExecutor(THREADS)
        self.statuses: dict[str, int] = {}

    def issue(self, queries: list[Any]) -> None:
        """LoadGen's: these are due now."""
        for query in queries:
            self._pool.submit(self._carry, query.id)

    def _carry(self, identity: int) -> None:
        try:
            status = self._ask()
        except OSError as error:
            status = type(error).__name__
            self._local.socket = None
        with self._lock:
            self.statuses[status] = self.statuses.get(status, 0) + 1
        if status != "200":
            time.sleep(2 * self._job.target_ms / 1000)
        loadgen.QuerySamplesComplete([loadgen.QuerySampleResponse(identity, 0, 0)])

    def _ask(self) -> str:
        connection: socket.socket | None = getattr(self._local, "socket", None)
        if connection is None:
            connection = self._local.socket = socket.create_connection(("127.0.0.1", self._job.port), TIMEOUT_S)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.sendall(self._request)
        answer = b""
        while (end := answer.find(b"\r\n\r\n")) < 0:
            answer += self._more(connection)
        head = answer[:end].lower()
        length = int(head.partition(b"content-length:")[2].partition(b"\r\n")[0])
        while len(answer) < end + 4 + length:
            answer += self._more(connection)
        if b"connection: close" in head:
            connection.close()
            self._local.socket = None
        return head.split(b" ", 2)[1].decode()

    @staticmethod
    def _more(connection: socket.socket) -> bytes:
        piece = connection.recv(1 << 16)
        if not piece:
            raise ConnectionResetError
        return piece


def run(job: Job) -> Outcome:
    """One run of the Server scenario."""
    settings = loadgen.TestSettings()
    settings.scenario = loadgen.TestScenario.Server
    settings.mode = loadgen.TestMode.PerformanceOnly
    settings.server_target_qps = job.rate
    settings.server_target_latency_ns = round(job.target_ms * 1e6)
    settings.server_target_latency_percentile = job.percentile / 100
    settings.min_duration_ms = round(job.seconds * 1000)
    settings.min_query_count = job.queries
    logs = loadgen.LogSettings()
    logs.log_output.outdir = job.folder
    logs.log_output.copy_summary_to_stdout = False
    carrier = Carrier(job)
    sut = loadgen.ConstructSUT(carrier.issue, lambda: None)
    library = loadgen.ConstructQSL(SAMPLES, SAMPLES, lambda _: None, lambda _: None)
    loadgen.StartTestWithLogSettings(sut, library, settings, logs)
    loadgen.DestroyQSL(library)
    loadgen.DestroySUT(sut)
    summary = _summary(Path(job.folder) / "mlperf_log_summary.txt")
    refused = {status: count for status, count in carrier.statuses.items() if status != "200"}
    return Outcome(
        result=summary["Result is"], summary=summary, answered=carrier.statuses.get("200", 0), refused=refused
    )


def _summary(path: Path) -> dict[str, str]:
    lines = (line.partition(":") for line in path.read_text().splitlines())
    return {key.strip(): value.strip() for key, _, value in lines if value.strip()}


if __name__ == "__main__":
    print(msgspec.json.encode(run(msgspec.json.decode(sys.argv[1], type=Job))).decode())
