"""Runs of the model stay within their share of the memory: with real onnxruntime, in this process and as a program."""

import asyncio
import http.client
import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper
from runtime.products import products

from corefit_core.batching import Line
from corefit_core.errors import Shed, TooLarge
from corefit_core.memory import Shares
from corefit_runtime.engine.onnxruntime import OnnxRuntimeEngine
from corefit_runtime.engine.types import Threads
from corefit_runtime.memory import container
from corefit_runtime.memory.outputs import OutputMemory
from corefit_runtime.pool import runs
from corefit_runtime.pool.jobs import Job, Outputs
from corefit_runtime.pool.limits import Limits
from corefit_runtime.pool.model import GROWN_AFTER, Model
from corefit_runtime.pool.pool import Pool
from corefit_runtime.telemetry.meter import Meter
from corefit_runtime.tensors import datatypes

MIB = 1 << 20
SHARES = Shares(runs=32 * MIB, outputs=32 * MIB, bodies=32 * MIB)


@pytest.fixture
def engine(tmp_path: Path) -> OnnxRuntimeEngine:
    return OnnxRuntimeEngine(products(tmp_path), Threads(), shares=SHARES)


def rows(count: int, size: int) -> "np.ndarray[Any, Any]":
    return np.arange(1, count + 1, dtype=np.float32)[:, None] * np.ones((1, size), np.float32)


def sums(count: int, size: int) -> list[float]:
    return [float(row * row) * size * size for row in range(1, count + 1)]


def job_of(model: Model, x: "np.ndarray[Any, Any]", deliver: Callable[[Any], None]) -> Job:
    return Job(
        model=model,
        feeds={"x": x},
        outputs=None,
        rows=len(x),
        elements=x.size,
        arrived_s=time.monotonic(),
        deadline_s=None,
        finish=lambda outputs: outputs,
        deliver=deliver,
    )


class Bench:
    """A pool of two workers."""

    def __init__(self, model: Model) -> None:
        limits = Limits(workers=2, depth=100, objective_s=60, line=Line(a=1e-3, b=1e-3), chunk=0, batch=0)
        self.model, self.pool = model, Pool(asyncio.get_running_loop(), Meter(), limits)
        self.pool.apply(limits)

    async def answer(self, x: "np.ndarray[Any, Any]") -> "list[float] | Exception":
        done: asyncio.Future[Outputs | Exception] = asyncio.get_running_loop().create_future()
        self.pool.submit(job_of(self.model, x, done.set_result))
        got = await asyncio.wait_for(done, 120)
        return got if isinstance(got, Exception) else [float(y) for y in got[0].ravel()]


def test_a_run_that_finds_no_memory_says_what_it_needs(engine: OnnxRuntimeEngine) -> None:
    """One request of 4 MB took 2.1 GB, and the kernel ended the pod with all that were in it."""
    before = container.resident_memory()
    with pytest.raises(
        TooLarge, match=r"operator Mul needs 244 MiB for this input, and of the 32 MiB .* 3\d MiB are free"
    ):
        engine.run(None, {"x": rows(1, 8000)})
    assert container.resident_memory() - before < 100 * MIB
    assert engine.starved
    [y] = engine.run(None, {"x": rows(1, 10)})
    assert list(y) == [100.0]


def test_a_session_of_other_threads_has_the_same_bound(engine: OnnxRuntimeEngine) -> None:
    with pytest.raises(TooLarge):
        engine.with_threads(Threads(intra=2)).run(None, {"x": rows(1, 8000)})
    engine.with_shares(Shares(runs=600 * MIB, outputs=MIB, bodies=MIB)).run(None, {"x": rows(1, 8000)})
    with pytest.raises(TooLarge):
        engine.run(None, {"x": rows(1, 8000)})


async def test_rows_that_do_not_fit_together_run_one_after_the_other(engine: OnnxRuntimeEngine) -> None:
    model = Model(engine, name="m", version="1", sha256="")
    model.allow_sharing(True)
    bench = Bench(model)
    assert await bench.answer(rows(64, 1000)) == pytest.approx(sums(64, 1000), rel=1e-2)
    assert 0 < model.most_elements < 64 * 1000, "the next one is cut before it runs"
    runs, _ = bench.pool.runs()
    assert await bench.answer(rows(64, 1000)) == pytest.approx(sums(64, 1000), rel=1e-2)
    assert bench.pool.runs()[0] >= runs + 8
    await bench.pool.close()


async def test_memory_that_others_have_for_a_moment_makes_no_run_small(engine: OnnxRuntimeEngine) -> None:
    """Two workers on one arena cut runs to a hundredth of what fits alone, until the model was loaded anew."""
    model = Model(engine, name="m", version="1", sha256="")
    model.allow_sharing(True)
    bench = Bench(model)
    for _ in range(3):
        answers = await asyncio.gather(*(bench.answer(rows(5, 1000)) for _ in range(20)))
        assert [type(answer) for answer in answers] == [list] * 20
    assert model.most_elements == 0, "each of them fits alone"
    assert model.rows_independent
    await bench.pool.close()


class Neighbours:
    """Other workers, as one of them sees them: their runs under way, and those that they have begun."""

    def __init__(self) -> None:
        self.begun = 0
        self.running = False

    def __call__(self) -> int | None:
        return None if self.running else self.begun


@pytest.mark.parametrize("ended", [False, True], ids=["it still runs", "it has ended"])
@pytest.mark.parametrize("shared", [False, True])
def test_memory_that_another_run_takes_in_the_middle_refuses_nothing(
    engine: OnnxRuntimeEngine, ended: bool, shared: bool
) -> None:
    """A run that others joined after it had begun alone was refused with 413, for its size."""
    model = Model(engine, name="m", version="1", sha256="")
    model.allow_sharing(shared)
    part = job_of(model, rows(4, 100), lambda _: None).whole()
    neighbours, whole, tries = Neighbours(), engine.run, []

    def run(names: list[str] | None, feeds: Any) -> Any:
        tries.append(len(feeds["x"]))
        if len(tries) > 3:
            return whole(names, feeds)
        neighbours.begun += 1
        neighbours.running = not ended
        raise TooLarge("another run has it")

    def wait() -> None:
        neighbours.running = False

    engine.run = run  # type: ignore[method-assign]
    [refused] = runs.run([part], neighbours)
    assert isinstance(refused, runs.MemoryTakenError)
    wait()
    assert isinstance(runs.again(part, neighbours, wait), list)
    assert tries == [4] * 4, "nor is anything cut"
    assert model.most_elements == 0


def test_a_check_that_finds_no_memory_shows_nothing_of_rows(engine: OnnxRuntimeEngine) -> None:
    """It was taken for a contradiction, and no request was joined or cut from then on."""
    model = Model(engine, name="m", version="1", sha256="")
    model.allow_sharing(True)
    jobs = [job_of(model, rows(2, 100), lambda _: None) for _ in range(2)]
    whole = engine.run

    def run(names: list[str] | None, feeds: Any) -> Any:
        if len(feeds["x"]) < 4:
            raise TooLarge("others have it")
        return whole(names, feeds)

    engine.run = run  # type: ignore[method-assign]
    outcomes = runs.run([job.whole() for job in jobs])
    assert [type(outcome) for outcome in outcomes] == [list] * 2
    assert model.rows_independent


def test_runs_may_be_as_large_as_before_once_many_have_had_memory(engine: OnnxRuntimeEngine) -> None:
    model = Model(engine, name="m", version="1", sha256="")
    model.lacked_memory(1000)
    assert model.most_elements == 500
    for _ in range(GROWN_AFTER):
        model.had_memory()
    assert model.most_elements == 1000


def wide(folder: Path) -> Path:
    """Of one number a thousand."""
    graph = helper.make_graph(
        [helper.make_node("Expand", ["x", "shape"], ["y"])],
        "wide",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 1])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 1000])],
        [helper.make_tensor("shape", TensorProto.INT64, [2], [1, 1000])],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    (folder / "wide.onnx").write_bytes(made.SerializeToString())
    return folder / "wide.onnx"


@pytest.mark.parametrize("chunk", [0, 100])
async def test_outputs_of_a_cut_request_are_bounded_as_those_of_a_whole_one(chunk: int, tmp_path: Path) -> None:
    """A request of 1.5 MB took a pod of 512 MB to 3.3 GB: each of its runs had memory, and all outputs were kept."""
    model = Model(OnnxRuntimeEngine(wide(tmp_path), Threads(), shares=SHARES), name="m", version="1", sha256="")
    model.allow_sharing(True)
    limits = Limits(workers=2, depth=100, objective_s=60, line=Line(a=1e-3, b=1e-3), chunk=chunk, batch=0)
    bench = Bench(model)
    bench.pool.apply(limits)
    before = container.resident_memory()
    refused = await bench.answer(np.ones((60_000, 1), np.float32))
    assert isinstance(refused, TooLarge)
    assert "take 229 MiB, and there are 30 MiB for outputs" in str(refused)
    assert container.resident_memory() - before < 120 * MIB
    assert isinstance(await bench.answer(np.ones((1000, 1), np.float32)), list)
    await bench.pool.close()


async def test_without_independent_rows_it_is_refused(engine: OnnxRuntimeEngine) -> None:
    bench = Bench(Model(engine, name="m", version="1", sha256=""))
    assert isinstance(await bench.answer(rows(64, 1000)), TooLarge)
    await bench.pool.close()


async def test_what_fits_alone_waits_for_its_turn(engine: OnnxRuntimeEngine) -> None:
    """Each needs more than half of the arena; none is refused, however many come at once."""
    bench = Bench(Model(engine, name="m", version="1", sha256=""))
    answers = await asyncio.gather(*(bench.answer(rows(5, 1000)) for _ in range(20)))
    assert [type(answer) for answer in answers] == [list] * 20
    await bench.pool.close()


def test_a_pod_refuses_what_it_has_no_memory_for_and_serves_on(start: Any, tmp_path: Path) -> None:
    runtime = start("--memory", "260Mi", "--no-calibrate", model=str(products(tmp_path)))
    for _ in range(3):
        status, body, _ = runtime.infer(rows(1, 20_000).tolist())
        assert status == 413
        assert "resources.memory" in body["error"]
        status, body, _ = runtime.infer(rows(2, 100).tolist())
        assert status == 200


def expanded(folder: Path) -> Path:
    """Of one number and a shape, a tensor of that shape: an answer of any size to a request of a few bytes."""
    graph = helper.make_graph(
        [helper.make_node("Expand", ["x", "shape"], ["y"])],
        "expanded",
        [
            helper.make_tensor_value_info("x", TensorProto.FLOAT, [1]),
            helper.make_tensor_value_info("shape", TensorProto.INT64, [1]),
        ],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n"])],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    made.ir_version = 9
    path = folder / "expanded.onnx"
    path.write_bytes(made.SerializeToString())
    return path


def asked(runtime: Any, count: int, *, binary: bool = True) -> int:
    inputs = [
        {"name": "x", "datatype": "FP32", "shape": [1], "data": [0.123456]},
        {"name": "shape", "datatype": "INT64", "shape": [1], "data": [count]},
    ]
    parameters = {"binary_data_output": binary}
    status: int = runtime.call("POST /v2/models/m/infer", {"inputs": inputs, "parameters": parameters})[0]
    return status


def highest_mb(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM:")).split()[1]) / 1024


@pytest.mark.parametrize("binary", [False, True])
def test_an_answer_takes_no_more_memory_than_there_is(start: Any, tmp_path: Path, binary: bool) -> None:
    """As JSON, a tensor of 80 MB took 1.4 GB, and the kernel ended a pod of 512 MB with all that were in it."""
    runtime = start("--memory", "512Mi", "--no-calibrate", model=str(expanded(tmp_path)))

    statuses = [asked(runtime, count, binary=binary) for count in (36_000_000, 5_000_000, 10_000_000)]
    assert statuses == [200 if binary else 413, 200, 200 if binary else 413]
    assert highest_mb(runtime.process.pid) < 512
    assert asked(runtime, 1_000_000, binary=binary) == 200


def test_small_runs_leave_large_ones_their_memory(start: Any, tmp_path: Path) -> None:
    """Runs of rising size left the arena in pieces: what fits alone was refused from then on, for all clients."""
    runtime = start("--memory", "512Mi", "--no-calibrate", model=str(expanded(tmp_path)))
    for _ in range(2):
        for count in (1_000_000, 2_000_000, 4_000_000, 8_000_000, 12_000_000, 34_000_000):
            assert asked(runtime, count) == 200
    assert asked(runtime, 60_000_000) == 413
    assert highest_mb(runtime.process.pid) < 512


def test_an_answer_that_is_not_sent_yet_keeps_no_run_from_its_memory(tmp_path: Path) -> None:
    """Outputs lay in the arena until they were sent: clients that read slowly had the runs of all others refused."""
    shares = Shares(runs=32 * MIB, outputs=128 * MIB, bodies=32 * MIB)
    engine = OnnxRuntimeEngine(expanded(tmp_path), Threads(), shares=shares)
    feeds = {"x": np.ones(1, np.float32), "shape": np.array([24 * MIB // 4])}
    unsent = [engine.memory.kept(engine.run(None, feeds)) for _ in range(4)]
    assert [len(y) for [y] in unsent] == [24 * MIB // 4] * 4


def test_a_small_answer_that_is_not_sent_yet_keeps_no_large_run_from_its_memory(tmp_path: Path) -> None:
    """4 KB that lay in the arena kept the 24 MiB around them from those whose runs take 28, and these got 413."""
    shares = Shares(runs=32 * MIB, outputs=128 * MIB, bodies=32 * MIB)
    engine = OnnxRuntimeEngine(expanded(tmp_path), Threads(), shares=shares)

    def answered(count: int) -> Any:
        feeds = {"x": np.ones(1, np.float32), "shape": np.array([count])}
        return engine.memory.kept(engine.run_afresh(None, feeds))

    with pytest.raises(TooLarge):
        answered(40 * MIB // 4)
    for _ in range(2):
        answered(24 * MIB // 4)
        [unsent] = answered(1000)
        [large] = answered(28 * MIB // 4)
        assert (len(unsent), len(large)) == (1000, 28 * MIB // 4)


class Reader(threading.Thread):
    """A client that asks for answers of 60 to 80 MB; it reads them, or, `stalled`, reads none that it gets."""

    def __init__(self, port: int, *, stalled: bool) -> None:
        super().__init__(daemon=True)
        self.statuses: list[int] = []
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=300)
        self._stalled = stalled
        self._response: http.client.HTTPResponse | None = None

    def close(self) -> None:
        """Hangs up, when it has had its answers."""
        self.join()
        self._connection.close()
        if self._response is not None:
            self._response.close()

    def run(self) -> None:
        for rows in range(15_000, 20_000, 500):
            data = np.ones(rows, np.float32).tobytes()
            parameters = {"binary_data_size": len(data)}
            tensor = {"name": "x", "datatype": "FP32", "shape": [rows, 1], "parameters": parameters}
            text = json.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}}).encode()
            headers = {"Inference-Header-Content-Length": str(len(text))}
            self._connection.request("POST", "/v2/models/m/infer", text + data, headers)
            self._response = self._connection.getresponse()
            self.statuses.append(self._response.status)
            if self._stalled and self._response.status == 200:
                return
            while self._response.read(1 << 20):
                pass


@pytest.mark.parametrize("clients", [5, 40])
def test_many_large_answers_take_no_more_memory_than_there_is(start: Any, tmp_path: Path, clients: int) -> None:
    """Five such clients took a pod of 512 MB to 780: what waited for the loop, or was put together, was uncharged."""
    runtime = start("--memory", "512Mi", "--cpus", "2", model=str(wide(tmp_path)))
    readers = [Reader(runtime.port, stalled=False) for _ in range(clients)]
    for reader in readers:
        reader.start()
    while any(reader.is_alive() for reader in readers):
        assert runtime.infer([[1.0]])[0] in {200, 503}
    for reader in readers:
        reader.close()
    assert highest_mb(runtime.process.pid) < 512
    statuses = [status for reader in readers for status in reader.statuses]
    assert set(statuses) <= {200, 503}
    assert statuses.count(200) > 0
    assert runtime.infer([[1.0]])[0] == 200


def test_clients_that_do_not_read_keep_no_small_answer_from_others(start: Any, tmp_path: Path) -> None:
    runtime = start("--memory", "512Mi", "--no-calibrate", "--cpus", "2", model=str(wide(tmp_path)))
    readers = [Reader(runtime.port, stalled=True) for _ in range(5)]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join()
    statuses = [status for reader in readers for status in reader.statuses]
    assert 200 in statuses
    assert 503 in statuses
    for _ in range(20):
        assert runtime.infer([[1.0]] * 50)[0] == 200, "200 KB, which is charged"
    for reader in readers:
        reader.close()
    assert highest_mb(runtime.process.pid) < 512


def test_an_output_is_charged_until_nobody_looks_at_it() -> None:
    memory = OutputMemory(16 * MIB)
    whole = np.ones((4, MIB), np.uint8)
    [kept] = memory.kept([whole[:]])
    assert kept.base is None
    assert memory.held == 4 * MIB
    rows = [kept[i : i + 1] for i in range(4)]
    del kept
    view = memoryview(rows.pop())
    rows.clear()
    assert memory.held == 4 * MIB, "a slice of it is there"
    del view
    assert memory.held == 0


def copied(folder: Path) -> Path:
    """What it takes is what it gives: onnxruntime gives a copy, which does not lie in the memory of runs."""
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n"])
    graph = helper.make_graph([], "copied", [x], [x])
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    (folder / "copied.onnx").write_bytes(made.SerializeToString())
    return folder / "copied.onnx"


def test_an_output_that_is_an_input_is_charged(tmp_path: Path) -> None:
    """It was charged nowhere: the outputs' account left it out, and the bodies' left it to the outputs'."""
    engine = OnnxRuntimeEngine(copied(tmp_path), Threads(), shares=SHARES)
    memory = engine.memory
    given = engine.run(None, {"x": np.ones(MIB, np.float32)})
    assert given[0].flags.owndata
    kept = memory.kept(given)
    assert kept[0] is given[0], "another copy would be of no use"
    assert memory.held == memory.charged([datatypes.to_bytes("FP32", kept[0])]) == 4 * MIB
    del kept, given
    assert memory.held == 0


def test_what_is_charged_elsewhere_is_what_is_left_out_of_an_answers_own_charge() -> None:
    """All outputs of more than 64 KiB were left out, charged or not, as soon as any was charged."""
    memory = OutputMemory(16 * MIB)
    [kept] = memory.kept([np.ones((4, MIB), np.uint8)[:]])
    row = datatypes.to_bytes("UINT8", kept[1:2])
    assert memory.charged([b"{}", row]) == MIB
    assert memory.charged([b"{}", np.ones(MIB, np.uint8).data, memoryview(b"1" * MIB)]) == 0
    [text] = memory.kept([np.array(["x" * 100] * 10_000, np.object_)])
    assert memory.charged([datatypes.to_bytes("BYTES", text)]) == 0, "its bytes are a copy"


def test_what_fails_while_outputs_are_kept_leaves_nothing_charged() -> None:
    """The charges of those that had not been copied yet stayed for ever."""

    class Failing(np.ndarray):  # type: ignore[type-arg]
        def copy(self, *_: Any, **_named: Any) -> Any:
            raise MemoryError

    memory = OutputMemory(16 * MIB)
    with pytest.raises(MemoryError):
        memory.kept([np.ones(MIB, np.uint8)[:], np.ones(MIB, np.uint8)[:].view(Failing)])
    assert memory.held == 0


def test_outputs_that_nobody_reads_leave_room_for_smaller_ones() -> None:
    memory = OutputMemory(16 * MIB)
    unread = memory.kept([np.ones(15 * MIB, np.uint8)[:]])
    with pytest.raises(Shed):
        memory.kept([np.ones(2 * MIB, np.uint8)[:]])
    assert len(memory.kept([np.ones(MIB, np.uint8)[:]])) == 1
    with pytest.raises(TooLarge, match=r"resources\.memory"):
        memory.kept([np.ones(16 * MIB, np.uint8)[:]])
    del unread
    assert memory.held == 0


def test_an_output_waits_on_a_workers_thread_for_others_to_be_sent() -> None:
    memory = OutputMemory(16 * MIB)
    unread = memory.kept([np.ones(12 * MIB, np.uint8)[:]])
    found: list[int] = []
    worker = threading.Thread(target=lambda: found.append(len(memory.kept([np.ones(8 * MIB, np.uint8)[:]]))))
    worker.start()
    del unread
    worker.join()
    assert found == [1]


def test_a_try_that_failed_halfway_leaves_nothing_in_the_answer(engine: OnnxRuntimeEngine) -> None:
    """The room that it had made for all rows was taken for the answer: of its second half nothing had been written."""
    model = Model(engine, name="m", version="1", sha256="")
    model.allow_sharing(True)
    job = job_of(model, rows(8, 100), lambda _: None)
    whole, lacks = engine.run, [(8, 1.0), (4, 5.0)]

    def run(names: list[str] | None, feeds: Any) -> Any:
        x = feeds["x"]
        if (len(x), float(x[0, 0])) in lacks:
            lacks.remove((len(x), float(x[0, 0])))
            raise TooLarge("others have it")
        return whole(names, feeds)

    engine.run = run  # type: ignore[method-assign]
    failed = runs.attempt(job.whole(), lambda: len(lacks))
    assert isinstance(failed, runs.MemoryTakenError), "its second half found no memory while another worker ran"
    job.results = [*runs.run([job.whole()])]
    assert [float(y) for y in runs.answer(job)[0].ravel()] == pytest.approx(sums(8, 100), rel=1e-2)
