"""Runs the load client against a server and reads the server's CPU before and after. Knows no experiment."""

import contextlib
import json
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
    """One run of the client: samples by stream, what the server spent, and the client's own CPU share."""

    seconds: float
    samples: dict[str, Array]
    spent: procstat.Spent
    client_share: float
    reconnects: int

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
        return self.spent.cpu_s / max(1, sum(len(answered(s)) for s in self.samples.values()))


def run(
    server: contenders.Server, streams: Sequence[Stream], seconds: float, *, server_cpu: int, client_cpu: int
) -> Run:
    """Send the streams at the server for `seconds` and collect what became of them."""
    with tempfile.TemporaryDirectory(prefix="corefit-bench-") as folder:
        job, output = Path(folder) / "job.json", Path(folder) / "samples.npz"
        job.write_bytes(
            msgspec.json.encode(
                {"cpu": client_cpu, "seconds": seconds, "streams": list(streams), "output": str(output)}
            )
        )
        argv = [sys.executable, "-m", "bench.runtime.loadgen", str(job)]
        with contenders.process(argv, cpu=client_cpu, pipes=True) as client:
            _line(client, "ready")
            before = procstat.mark(server.pid, server_cpu)
            _tell(client, "go")
            result = json.loads(_line(client))
            after = procstat.mark(server.pid, server_cpu)
        with np.load(output) as arrays:
            samples = {name: arrays[name] for name in arrays.files}
    spent = procstat.spent(before, after)
    return Run(
        seconds=seconds,
        samples=samples,
        spent=spent,
        client_share=result["cpu"] / spent.wall_s,
        reconnects=sum(s["reconnects"] for s in result["streams"]),
    )


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
        before = procstat.mark(self._process.pid, self._cpu)
        _tell(self._process, str(seconds))
        result = json.loads(_line(self._process))
        spent = procstat.spent(before, procstat.mark(self._process.pid, self._cpu))
        return result["count"] / result["seconds"], spent, spent.cpu_s / max(1, result["count"])


def _tell(process: Any, text: str) -> None:
    process.stdin.write(text + "\n")
    process.stdin.flush()


def _line(process: Any, expected: str | None = None) -> str:
    line = str(process.stdout.readline()).strip()
    if not line or (expected and line != expected):
        raise RuntimeError(f"{process.args!r} said {line!r} and ended with {process.poll()}: see its errors above")
    return line
