"""Two threads a run on two cores: what it brings, and what it costs, to let the idle one spin instead of sleep."""

import statistics
import time
from typing import Final

import onnxruntime as ort
from bench.models.cost import feeds
from bench.runtime.harness import Bench

_GAP_S: Final = 0.01
"""Between runs: a server that is busy a third of the time."""


def measured(bench: Bench) -> None:
    """Wall and CPU time of a run of the 20 ms model, asleep and spinning in turn."""
    model = bench.model("20ms").read_bytes()
    sessions = {spin: _session(model, spin) for spin in ("0", "1")}
    walls: dict[str, list[float]] = {spin: [] for spin in sessions}
    cpus: dict[str, list[float]] = {spin: [] for spin in sessions}
    for _ in range(20 if bench.quick else 150):
        for spin, session in sessions.items():
            wall_s, cpu_s = _run(session)
            walls[spin].append(wall_s)
            cpus[spin].append(cpu_s)
    for spin, name in (("0", "asleep"), ("1", "spinning")):
        bench.found("spinning", f"{name}, run", 1000 * statistics.median(walls[spin]), "ms")
        bench.found("spinning", f"{name}, run and gap", 1000 * statistics.median(cpus[spin]), "ms of CPU", steady=True)


def _session(model: bytes, spin: str) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 2
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", spin)
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def _run(session: ort.InferenceSession) -> tuple[float, float]:
    inputs = feeds(session)
    session.run(None, inputs)
    time.sleep(_GAP_S)
    wall, cpu = time.perf_counter(), time.process_time()
    session.run(None, inputs)
    took = time.perf_counter() - wall
    time.sleep(_GAP_S)
    return took, time.process_time() - cpu
