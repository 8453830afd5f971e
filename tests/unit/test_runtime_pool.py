"""The pool with real threads and a model of numpy's: no request lost, doubled, or answered wrongly."""

import asyncio
import threading
import time
import weakref
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corefit_core.batching import Line
from corefit_core.errors import DeadlineExceeded, Shed
from corefit_runtime.memory.outputs import OutputMemory
from corefit_runtime.pool import run_times
from corefit_runtime.pool.jobs import Job
from corefit_runtime.pool.limits import Limits
from corefit_runtime.pool.model import Model
from corefit_runtime.pool.pool import Pool
from corefit_runtime.telemetry.meter import Meter


class Doubler:
    """Doubles its rows; can be held, and refuses negative numbers."""

    memory = OutputMemory()

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.gate.set()
        self.batches: list[int] = []

    def run(self, _names: list[str] | None, feeds: dict[str, Any]) -> list[Any]:
        self.gate.wait(30)
        x = feeds["x"]
        self.batches.append(len(x))
        if (x < 0).any():
            raise ValueError("negative")
        return [x * 2]


class FakeModel(Model):
    def __init__(self, engine: Any = None) -> None:
        super().__init__(engine or cast("Any", Doubler()), name="m", version="1", sha256="", bounded=True)
        self.allow_sharing(True)


class Bench:
    """A pool, and what became of each job."""

    def __init__(self, limits: Limits, delay_s: float = 0.0) -> None:
        self.meter = Meter()
        self.pool = Pool(asyncio.get_running_loop(), self.meter, limits, delay_s=delay_s)
        self.pool.apply(limits)
        self.model = FakeModel()
        self.answers: dict[int, list[Any]] = {}

    def submit(self, key: int, rows: int = 1, value: float = 1.0, deadline: float | None = None) -> Job:
        self.answers[key] = []
        job = Job(
            model=cast("Model", self.model),
            feeds={"x": np.full((rows, 1), value)},
            outputs=None,
            rows=rows,
            elements=rows,
            arrived_s=time.monotonic(),
            deadline_s=deadline,
            finish=lambda outputs: outputs[0],
            deliver=self.answers[key].append,
        )
        self.pool.submit(job)
        return job

    async def settled(self) -> None:
        await asyncio.wait_for(self.pool.idle(), 60)


def limits(**changes: Any) -> Limits:
    line = Line(a=1e-3, b=1e-3)
    given = {"workers": 2, "depth": 10_000, "objective_s": 60.0, "line": line, "chunk": 3, "batch": 4}
    return Limits(**{**given, **changes})


events = st.lists(
    st.one_of(
        st.tuples(st.just("submit"), st.integers(0, 12)),
        st.tuples(st.just("expired"), st.integers(1, 4)),
        st.tuples(st.just("cancel"), st.integers(0, 30)),
        st.tuples(st.just("resize"), st.integers(1, 4)),
        st.tuples(st.just("breathe"), st.just(0)),
    ),
    max_size=30,
)


@settings(max_examples=60)
@given(script=events, depth=st.integers(1, 40), cost=st.sampled_from([1e-6, 1e-3]))
def test_every_request_has_exactly_one_end(script: list[tuple[str, int]], depth: int, cost: float) -> None:
    asyncio.run(play(script, depth, Line(a=cost, b=cost)))


async def play(script: list[tuple[str, int]], depth: int, line: Line) -> None:
    bench = Bench(limits(depth=depth, line=line))
    jobs: dict[int, tuple[Job, int]] = {}
    shed, cancelled = 0, set()
    for key, (what, number) in enumerate(script):
        if what in {"submit", "expired"}:
            try:
                past = time.monotonic() - 1 if what == "expired" else None
                jobs[key] = (bench.submit(key, number, float(key + 1), past), number)
            except Shed:
                shed += 1
        elif what == "cancel" and number in jobs and bench.pool.cancel(jobs[number][0]):
            cancelled.add(number)
        elif what == "resize":
            bench.pool.apply(limits(workers=number, depth=depth, line=line))
        else:
            await asyncio.sleep(0)
    await bench.settled()
    for key, (_, rows) in jobs.items():
        answers = bench.answers[key]
        assert len(answers) == (0 if key in cancelled else 1)
        if answers and not isinstance(answers[0], DeadlineExceeded):
            assert np.array_equal(answers[0], np.full((rows, 1), 2.0 * (key + 1)))
    counted = bench.meter.completed + bench.meter.expired + bench.meter.failed
    assert counted == len(jobs) - len(cancelled)
    gauges = bench.pool.gauges()
    assert (gauges.queued, gauges.in_flight) == (0, 0)
    await bench.pool.close()


async def test_waiting_requests_are_joined_and_each_gets_its_own_rows() -> None:
    bench = Bench(limits(workers=1, chunk=0))
    bench.model.engine.gate.clear()
    for key in range(9):
        bench.submit(key, 1, float(key))
    bench.model.engine.gate.set()
    await bench.settled()
    assert [float(bench.answers[key][0][0, 0]) for key in range(9)] == [2.0 * key for key in range(9)]
    assert max(bench.model.engine.batches) > 1
    await bench.pool.close()


async def test_one_bad_request_in_a_batch_fails_alone() -> None:
    bench = Bench(limits(workers=1, chunk=0))
    bench.model.engine.gate.clear()
    for key, value in enumerate((1.0, 1.0, -1.0, 1.0)):
        bench.submit(key, 1, value)
    bench.model.engine.gate.set()
    await bench.settled()
    assert [isinstance(bench.answers[key][0], ValueError) for key in range(4)] == [False, False, True, False]
    assert (bench.meter.failed, bench.meter.completed) == (1, 3)
    await bench.pool.close()


async def test_a_request_that_is_dropped_while_it_waits_costs_no_run() -> None:
    bench = Bench(limits(workers=1, chunk=0, batch=0))
    bench.model.engine.gate.clear()
    bench.submit(0)
    waiting = bench.submit(1)
    assert bench.pool.cancel(waiting)
    assert not bench.pool.cancel(waiting)
    bench.model.engine.gate.set()
    await bench.settled()
    assert bench.answers[1] == []
    assert bench.model.engine.batches == [1]
    await bench.pool.close()


async def test_workers_come_and_go_with_the_plan() -> None:
    bench = Bench(limits(workers=3))
    bench.pool.apply(limits(workers=1))
    for key in range(20):
        bench.submit(key)
    await bench.settled()
    bench.pool.apply(limits(workers=4))
    assert len(bench.pool.thread_ids()) >= 4
    await bench.pool.close()
    assert bench.pool.thread_ids() == []


async def test_busy_time_never_goes_back() -> None:
    bench = Bench(limits(workers=1))
    bench.model.engine.gate.clear()
    bench.submit(0)
    before = 0.0
    while before == 0.0:
        await asyncio.sleep(0.001)
        before = bench.pool.busy_s()
    bench.model.engine.gate.set()
    await bench.settled()
    assert bench.pool.busy_s() >= before
    await bench.pool.close()


async def test_time_in_which_a_run_was_kept_from_the_cpu_is_not_computed() -> None:
    """A worker that waits at a gate is busy and computes nothing, as one that a quota stops."""
    bench = Bench(limits(workers=1))
    bench.model.engine.gate.clear()
    bench.submit(0)
    await asyncio.sleep(0.2)
    bench.model.engine.gate.set()
    await bench.settled()
    assert bench.meter.service_time.sum_s >= 0.15
    assert 0.0 < bench.meter.computed_s < 0.1
    assert bench.meter.computed_sq_s2 == pytest.approx(bench.meter.computed_s**2)
    await bench.pool.close()


async def test_a_batch_waits_for_its_delay_but_not_when_it_is_full() -> None:
    bench = Bench(limits(workers=1, chunk=0, batch=2), delay_s=30.0)
    bench.submit(0)
    bench.submit(1)
    await bench.settled()
    assert bench.model.engine.batches == [2, 1, 1], "the batch, and the check of its answers"
    await bench.pool.close()


@pytest.mark.parametrize("rows", [1, 7, 100])
async def test_in_chunks_the_answer_is_the_same(rows: int) -> None:
    bench = Bench(limits(workers=2, chunk=7, batch=0))
    bench.submit(0, rows, 3.0)
    await bench.settled()
    assert np.array_equal(bench.answers[0][0], np.full((rows, 1), 6.0))
    assert max(bench.model.engine.batches) <= 7
    await bench.pool.close()


async def test_a_run_that_costs_less_than_the_way_to_a_worker_stays_on_the_loop(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """If a run of the same sizes was measured: what other sizes take is not known."""
    monkeypatch.setattr(run_times, "INLINE_S", 3600.0)
    bench = Bench(limits(line=Line(a=1e-6, b=1e-6)))
    for key, rows in enumerate((2, 2, 1, 3, 3)):
        bench.submit(key, rows, 4.0)
        at_once = bool(bench.answers[key])
        await bench.settled()
        assert np.array_equal(bench.answers[key][0], np.full((rows, 1), 8.0))
        assert at_once == (key in {1, 4})
    assert bench.meter.completed == 5
    await bench.pool.close()  # A worker counts its run when it has handed the answer over.
    assert bench.pool.runs() == (5, 11)


async def test_a_deadline_that_passes_while_a_batch_fills_costs_no_run_and_nobody_is_busy() -> None:
    bench = Bench(limits(workers=1, chunk=0, batch=2), delay_s=0.4)
    bench.submit(0, deadline=time.monotonic() + 0.1)
    for _ in range(10):
        await asyncio.sleep(0.02)
        assert bench.pool.gauges().busy_workers == 0
    await bench.settled()
    assert isinstance(bench.answers[0][0], DeadlineExceeded)
    assert bench.model.engine.batches == []
    assert bench.pool.busy_s() == 0
    await bench.pool.close()


async def test_a_deadline_that_has_passed_costs_no_run_there_either() -> None:
    bench = Bench(limits(line=Line(a=1e-6, b=1e-6)))
    bench.submit(0, deadline=time.monotonic() - 1)
    await bench.settled()
    assert isinstance(bench.answers[0][0], DeadlineExceeded)
    assert bench.model.engine.batches == []
    await bench.pool.close()


async def test_a_worker_that_waits_holds_nothing_of_what_it_did() -> None:
    """Each kept the body and the outputs of its last request: four workers four bodies, charged to nobody."""
    bench = Bench(limits(workers=1, chunk=0, batch=0))
    held = weakref.ref(bench.submit(0, 5).feeds["x"])
    await bench.settled()
    for _ in range(1000):
        if held() is None:
            break
        await asyncio.sleep(0.01)
    assert held() is None
    await bench.pool.close()
