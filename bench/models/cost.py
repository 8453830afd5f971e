"""What one run of a model costs on one core of this machine, and the model that costs what is asked for.

May not write files. CPU time of the calling thread, not the wall clock: with one intra-op thread the caller
computes, and neighbours on the core disturb its CPU time far less.
"""

import statistics
import time
from collections.abc import Callable
from typing import Any, Final

import numpy as np
import onnx
import onnxruntime as ort

TOLERANCE: Final = 0.2
"""A calibrated model may miss its target by so much: the CPU's clock itself moves by a tenth."""
_PROBES: Final = (8, 32)
_ROUNDS: Final = 3


def session(model: bytes, threads: int = 1) -> ort.InferenceSession:
    """A session with `threads` intra-op threads that doesn't spin."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def feeds(runner: ort.InferenceSession, rows: int = 1) -> "dict[str, np.ndarray[Any, Any]]":
    """Random inputs of `rows` rows that fit the model's signature."""
    random = np.random.default_rng(1)
    return {node.name: random.random([rows, *node.shape[1:]], dtype=np.float32) for node in runner.get_inputs()}


def cpu_seconds(model: onnx.ModelProto, rows: int = 1, budget_s: float = 0.5) -> float:
    """The median CPU time of one run in seconds, from about `budget_s` seconds of runs."""
    runner = session(model.SerializeToString())
    inputs = feeds(runner, rows)
    for _ in range(3):
        runner.run(None, inputs)
    times: list[float] = []
    end = time.monotonic() + budget_s
    while time.monotonic() < end or len(times) < 5:
        begin = time.thread_time()
        runner.run(None, inputs)
        times.append(time.thread_time() - begin)
    return statistics.median(times)


def of_cost(
    build: Callable[[int], onnx.ModelProto],
    target_s: float,
    measure: Callable[[onnx.ModelProto], float] = cpu_seconds,
) -> tuple[onnx.ModelProto, float]:
    """`build(n)` with the n whose cost is nearest to `target_s`, and what it costs.

    The line through two small models gives the first guess, its own cost the corrections: caches make the cost
    of a block depend a little on how many there are.

    Raises:
        RuntimeError: not within `TOLERANCE` after a few corrections.
    """
    (n1, t1), (n2, t2) = ((n, measure(build(n))) for n in _PROBES)
    slope = max(1e-9, (t2 - t1) / (n2 - n1))
    n = max(1, round(n1 + (target_s - t1) / slope))
    for _ in range(_ROUNDS):
        model = build(n)
        cost = measure(model)
        if abs(cost - target_s) <= TOLERANCE / 4 * target_s:
            return model, cost
        n = max(1, round(n + (target_s - cost) / slope))
    if abs(cost - target_s) <= TOLERANCE * target_s:
        return model, cost
    raise RuntimeError(f"no model of {1000 * target_s:g} ms: the nearest took {1000 * cost:.2f} ms; is the CPU busy?")
