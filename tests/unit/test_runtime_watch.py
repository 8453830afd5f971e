"""What is served follows the grant and the model's file, whenever they change and whatever fails on the way."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper

from corefit_core.batching import Line
from corefit_core.errors import ChecksumMismatch, InvalidInput, ModelUnavailable
from corefit_core.report import ServiceTime
from corefit_core.sizing import Grant
from corefit_runtime.admin.control import ControlApi
from corefit_runtime.calibration.calibrate import Findings
from corefit_runtime.grant.cgroups import Cgroup
from corefit_runtime.http.exchange import Exchange
from corefit_runtime.http.messages import Response, parse_head
from corefit_runtime.pool.limits import Limits
from corefit_runtime.pool.pool import Pool
from corefit_runtime.process import app
from corefit_runtime.serving import loading
from corefit_runtime.serving.lifecycle import ModelLifecycle
from corefit_runtime.serving.readiness import Readiness
from corefit_runtime.serving.servable import Published, Servable
from corefit_runtime.serving.watch import Watch
from corefit_runtime.settings import settings
from corefit_runtime.telemetry.cpu import CpuMeter
from corefit_runtime.telemetry.meter import Meter

SLOW = Findings(profile=(ServiceTime(threads=1, rows=1, seconds=0.15),), line=Line(a=0.05, b=0.1))
"""One thread misses the objective of 100 ms."""
WIDER = ServiceTime(threads=2, rows=1, seconds=0.08)


def save(path: Path, operator: str) -> Path:
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 4]) for name in "xy")
    graph = helper.make_graph([helper.make_node(operator, ["x"], ["y"])], "g", [x], [y])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    path.write_bytes(model.SerializeToString())
    return path


class Bench:
    """A runtime without ports, and a grant that the test sets."""

    def __init__(self, model: Path, *options: str, unknown: str = "") -> None:
        self.model = model
        kept = str(model.parent / "kept")
        given = settings.load(["--model", model.as_uri(), "--watch-model", "--model-dir", kept, *options], {})
        self.settings, self.published = given, Published()
        nothing = Limits(workers=1, depth=1, objective_s=1, line=Line(a=1, b=1), chunk=0, batch=0)
        self.pool = Pool(asyncio.get_running_loop(), Meter(), nothing)
        doubt = unknown if given.cpus is None else ""
        self.lifecycle = ModelLifecycle(given, self.published, Readiness(), self.pool, doubt=doubt)
        self.granted = Grant(quota_millicores=2000)
        uri, cpu = model.as_uri(), CpuMeter(Cgroup([], str), 0)
        self.watch = Watch(self.lifecycle, lambda: self.granted, model=uri, meter=Meter(), cpu=cpu)

    @property
    def servable(self) -> Servable:
        assert self.published.servable is not None
        return self.published.servable

    @property
    def answer(self) -> float:
        """Of the model that is served, to 1."""
        [y] = self.servable.model.engine.run(None, {"x": np.ones((1, 4), np.float32)})
        return float(y[0, 0])

    async def grant(self, millicores: int, now: float = 0.0) -> None:
        self.granted = Grant(quota_millicores=millicores)
        await self.watch.look_at_grant(now)


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    made = Bench(save(tmp_path / "a model.onnx", "Neg"), "--no-calibrate")
    yield made
    await made.pool.close()


async def test_a_grant_that_changed_while_the_model_was_loaded_is_followed(bench: Bench) -> None:
    await bench.lifecycle.load(Grant(quota_millicores=4000))
    await bench.grant(2000)
    assert (bench.servable.plan.grant_millicores, bench.servable.plan.workers) == (2000, 2)


async def test_a_plan_after_a_contradiction_has_the_queue_of_requests_that_are_not_joined(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The report had the longer queue that joined requests would empty in the same time."""
    load = loading.load
    plans = []
    for contradiction in ("", "seen"):

        def loaded(*given: Any, contradiction: str = contradiction) -> loading.Loaded:
            found = load(*given)
            found.model.contradiction = contradiction
            profile = (ServiceTime(threads=1, rows=1, seconds=0.00101),)
            findings = Findings(line=Line(a=0.001, b=0.00001), profile=profile, rows_independent=bool(contradiction))
            return replace(found, findings=findings)

        monkeypatch.setattr(loading, "load", loaded)
        await bench.lifecycle.load(bench.granted)
        plans.append(bench.servable.plan)
    assert plans[0].queue_depth == plans[1].queue_depth
    assert plans[1].batch_rows == 0


@pytest.mark.parametrize(("options", "said"), [((), True), (("--cpus", "2"), False)])
async def test_the_plan_says_that_the_quota_is_unknown_unless_the_user_gives_the_limit(
    tmp_path: Path, options: tuple[str, ...], said: bool
) -> None:
    made = Bench(save(tmp_path / "m.onnx", "Neg"), "--no-calibrate", *options, unknown="the quota is unknown")
    await made.lifecycle.load(Grant(cpus=4))
    assert ("the quota is unknown" in made.servable.plan.why) == said
    await made.pool.close()


async def test_a_grant_that_no_plan_fits_leaves_the_plan_and_is_tried_again(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    await bench.lifecycle.load(bench.granted)
    tries: list[int] = []
    regrant = bench.lifecycle.regrant

    async def counted(grant: Grant) -> bool:
        tries.append(grant.millicores)
        return await regrant(grant)

    monkeypatch.setattr(bench.lifecycle, "regrant", counted)
    for now in (0.0, 0.1, 0.9, 1.0, 2.9, 3.0):  # Again after 1 s, and then after 2.
        await bench.grant(50, now)
    assert tries == [50] * 3
    assert "at least 100m" in bench.published.notes["plan"]
    assert (bench.lifecycle.grant, bench.servable.plan.workers) == (Grant(quota_millicores=2000), 2)
    await bench.grant(2000, 3.1)
    assert "plan" not in bench.published.notes
    await bench.grant(50, 3.2)
    await bench.grant(1000, 3.3)
    assert "plan" not in bench.published.notes
    assert tries == [50, 50, 50, 50, 1000]


async def test_what_nobody_foresaw_leaves_the_plan_as_well(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    await bench.lifecycle.load(bench.granted)

    def broken(*_: Any) -> None:
        raise RuntimeError("unforeseen")

    monkeypatch.setattr("corefit_runtime.serving.lifecycle.limits_of", broken)
    await bench.grant(1000)
    assert "unforeseen" in bench.published.notes["plan"]
    assert bench.lifecycle.grant == Grant(quota_millicores=2000)


@pytest.mark.parametrize("error", [RuntimeError("unforeseen"), InvalidInput("too little"), MemoryError()])
async def test_a_reload_that_fails_in_any_way_is_told_and_the_old_model_serves(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    await bench.lifecycle.load(bench.granted)

    def broken(*_: Any) -> None:
        raise error

    monkeypatch.setattr(loading, "load", broken)
    told = await bench.lifecycle.reload()
    assert str(error) in told
    assert told in bench.published.notes["reload"]
    assert bench.answer == -1.0


async def test_a_file_that_is_replaced_while_it_is_loaded_is_loaded_again(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    load = loading.load

    def replaced(*given: Any) -> loading.Loaded:
        loaded = load(*given)
        save(bench.model, "Exp")
        return loaded

    with monkeypatch.context() as patched:
        patched.setattr(loading, "load", replaced)
        await bench.lifecycle.load(bench.granted)
    assert bench.answer == -1.0
    await bench.watch.look_at_model()
    assert bench.answer == pytest.approx(np.e)
    loaded = bench.servable.model
    await bench.watch.look_at_model()
    assert bench.servable.model is loaded


async def test_a_broken_file_is_tried_once_for_each_change(bench: Bench) -> None:
    await bench.lifecycle.load(bench.granted)
    bench.model.write_bytes(b"broken")
    await bench.watch.look_at_model()
    assert "ModelInvalid" in bench.published.notes.pop("reload")
    await bench.watch.look_at_model()
    assert "reload" not in bench.published.notes


async def test_a_file_that_was_overwritten_does_not_come_in_by_a_new_plan(bench: Bench) -> None:
    """Its checksum was never looked at, and nobody asked for a reload."""
    await bench.lifecycle.load(bench.granted)
    session, sha256 = bench.servable.model.engine, bench.servable.model.sha256
    bench.lifecycle._findings = Findings(profile=(*SLOW.profile, WIDER), line=SLOW.line)
    save(bench.model, "Exp")
    await bench.grant(4000)
    assert bench.servable.model.engine is session
    assert bench.servable.model.sha256 == sha256
    assert "changed since" in bench.published.notes["session"]
    plan = bench.servable.plan
    assert (plan.grant_millicores, plan.workers, plan.threads_per_worker) == (4000, 4, 1)
    with pytest.raises(ChecksumMismatch):
        await bench.lifecycle.trace(0.0)
    bench.model.unlink()
    await bench.grant(2000)
    assert "can't be read" in bench.published.notes["session"]
    save(bench.model, "Neg")
    await bench.grant(4000)
    assert "session" not in bench.published.notes
    assert (bench.servable.plan.workers, bench.servable.plan.threads_per_worker) == (2, 2)


async def test_more_threads_are_measured_where_those_that_were_miss_the_objective(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Started on a quarter of a core and grown to four, a model stayed on the one thread that was measured."""
    bench = Bench(save(tmp_path / "m.onnx", "Neg"), "--calibrate")
    monkeypatch.setattr("corefit_runtime.calibration.calibrate.timed", lambda engine, *_: 0.16 / engine.threads.intra)
    await bench.lifecycle.load(Grant(quota_millicores=250))
    assert bench.servable.plan.threads_per_worker == 1
    await bench.grant(4000)
    assert (bench.servable.plan.workers, bench.servable.plan.threads_per_worker) == (
        4,
        1,
    )  # At once, as far as is known.
    await bench.watch.measured()
    assert (bench.servable.plan.workers, bench.servable.plan.threads_per_worker) == (2, 2)
    measured = [p.threads for p in bench.servable.profile if p.rows == 1]
    assert measured == [1, 2, 4]
    await bench.grant(8000)
    await bench.watch.measured()  # Two threads meet the objective: no more are tried.
    assert [p.threads for p in bench.servable.profile if p.rows == 1] == measured
    assert bench.answer == -1.0
    await bench.pool.close()


async def test_a_request_to_the_control_port_that_fails_in_any_way_is_answered() -> None:
    answered = asyncio.get_running_loop().create_future()

    class Full:
        async def reload(self) -> str:
            return ""

        async def trace(self, _seconds: float) -> bytes:
            raise OSError(28, "No space left on device")

    class Wire:
        def answer(self, response: Response) -> None:
            answered.set_result((response.status, b"".join(response.body)))

    head = parse_head(b"GET /debug/ort?seconds=1 HTTP/1.1\r\nHost: h\r\n\r\n")
    exchange = Exchange(Wire(), head, memoryview(b""), 0.0)
    ControlApi(Full, CpuMeter(Cgroup([], str), 0), debug=True)(exchange)
    status, body = await asyncio.wait_for(answered, 60)
    assert (status, b"No space left" in body) == (500, True)


async def test_a_start_that_fails_in_any_way_is_told_and_tried_again(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = app.App(bench.settings)
    errors: Iterator[Exception | None] = iter([RuntimeError("unforeseen"), ModelUnavailable("not there"), None])
    told: list[tuple[str, str]] = []

    class Failing:
        async def load(self, _grant: Grant) -> None:
            told.append((made._readiness.reason, made._readiness.message))
            error = next(errors)
            if error is not None:
                raise error

    monkeypatch.setattr(app, "delays", lambda: itertools.repeat(0.0))
    await made._load(Failing())  # type: ignore[arg-type]  # all that it wants of a lifecycle
    assert told[1:] == [("InternalError", "RuntimeError: unforeseen"), ("ModelUnavailable", "not there")]
