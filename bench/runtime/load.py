"""Runs the load client against a server and reads the CPU of both before and after. Knows no experiment."""

import contextlib
import json
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import msgspec
import numpy as np
from bench.runtime import contenders, procstat
from bench.runtime.samples import Array, Stream, answered, within


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """One run of the client.

    Attributes:
        samples: by stream.
        cpu_s: of the server.
        foreign: how much of a core others took of the server's or of the client's, whichever is more: a client that
            has to wait for its core sends late, and reads late.
    """

    seconds: float
    samples: dict[str, Array]
    cpu_s: float
    foreign: float

    @property
    def only(self) -> Array:
        """The samples of the one stream."""
        (samples,) = self.samples.values()
        return samples

    def throughput(self, warm_s: float = 0.0) -> float:
        """Answers a second, by when they came."""
        done = within(answered(self.only), warm_s, self.seconds, column=2)
        return len(done) / (self.seconds - warm_s)

    @property
    def cpu_per_answer_s(self) -> float:
        """CPU seconds of the server for each answer with status 200."""
        return self.cpu_s / max(1, sum(len(answered(s)) for s in self.samples.values()))


def run(server: contenders.Server, streams: Sequence[Stream], seconds: float, *, client_cpu: int) -> Run:
    """Send the streams at the server for `seconds` and collect what became of them."""
    with tempfile.TemporaryDirectory(prefix="corefit-bench-") as folder:
        job, output = Path(folder) / "job.json", Path(folder) / "samples.npz"
        job.write_bytes(
            msgspec.json.encode(
                {"cpu": client_cpu, "seconds": seconds, "streams": list(streams), "output": str(output)}
            )
        )
        argv = [sys.executable, "-m", "bench.runtime.loadgen", str(job)]
        with contenders.process(argv, cpu=client_cpu, pipes=True, waits=False) as client:
            _line(client, "ready")
            books = _books(server, client.pid, client_cpu)
            before = [procstat.mark(*book) for book in books]
            server_s = procstat.process_cpu_s(server.pid)
            _tell(client, "go")
            _line(client, "done")
            server_s = procstat.process_cpu_s(server.pid) - server_s
            spent = [procstat.spent(mark, procstat.mark(*book)) for mark, book in zip(before, books, strict=True)]
            _tell(client, "save")
            _line(client, "saved")
        with np.load(output) as arrays:
            samples = {name: arrays[name] for name in arrays.files}
    return Run(seconds=seconds, samples=samples, cpu_s=server_s, foreign=max(s.foreign for s in spent))


def _books(server: contenders.Server, client: int, client_cpu: int) -> list[tuple[list[int], list[int]]]:
    """Processes and the cores that they have for themselves: two pairs, or one when the server may use any core."""
    if server.cpu is None:
        return [([server.pid, client], sorted(os.sched_getaffinity(0)))]
    return [([server.pid], [server.cpu]), ([client], [client_cpu])]


class RawLoop:
    """onnxruntime in a loop, in a process that waits between the runs."""

    def __init__(self, model: Path, cpu: int) -> None:
        self._argv = [sys.executable, "-m", "bench.runtime.raw_loop", str(model)]
        self._cpu = cpu
        self._stack = contextlib.ExitStack()
        self._process: Any = None

    def __enter__(self) -> Self:
        self._process = self._stack.enter_context(contenders.process(self._argv, cpu=self._cpu, pipes=True))
        _line(self._process, "ready")
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def run(self, seconds: float) -> tuple[float, procstat.Spent, float]:
        """Runs a second, what was spent, and CPU seconds a run."""
        before = procstat.mark([self._process.pid], [self._cpu])
        _tell(self._process, str(seconds))
        result = json.loads(_line(self._process))
        spent = procstat.spent(before, procstat.mark([self._process.pid], [self._cpu]))
        return result["count"] / result["seconds"], spent, spent.cpu_s / max(1, result["count"])


def _tell(process: Any, text: str) -> None:
    process.stdin.write(text + "\n")
    process.stdin.flush()


def _line(process: Any, expected: str | None = None) -> str:
    line = str(process.stdout.readline()).strip()
    if not line or (expected and line != expected):
        raise RuntimeError(f"{process.args!r} said {line!r} and ended with {process.poll()}: see its errors above")
    return line
