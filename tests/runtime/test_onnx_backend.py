"""ONNX's backend test models through REST: each answers as onnxruntime itself does, alone, joined and in parts, or is
refused at load with its reason. None answers wrongly."""

import asyncio
import collections
import contextlib
import json
import math
import zlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from runtime.onnx_cases import Case, Feeds, Judge, cases, freed, same

from corefit_core.batching import Line
from corefit_core.errors import ModelError
from corefit_core.sizing import Grant
from corefit_runtime.concurrency.offload import Offload
from corefit_runtime.dataplane.data_plane import DataPlane
from corefit_runtime.http.messages import HttpLimits, error_body
from corefit_runtime.http.server import Server
from corefit_runtime.memory.buffers import BufferPool
from corefit_runtime.pool.limits import Limits
from corefit_runtime.pool.model import Model
from corefit_runtime.pool.pool import Pool
from corefit_runtime.rest.api import InferenceApi
from corefit_runtime.rest.headers import HEADER_LENGTH
from corefit_runtime.serving.lifecycle import ModelLifecycle
from corefit_runtime.serving.readiness import Readiness
from corefit_runtime.serving.servable import Published
from corefit_runtime.settings import settings
from corefit_runtime.telemetry.attention import Attention
from corefit_runtime.telemetry.meter import Meter
from corefit_runtime.tensors import datatypes

SAMPLE_EVERY = 24
SHARED_NOISE = 1e-3
"""Of a row's largest value: kernels for other row counts sum in another order (`comparison.FLOAT_NOISE`)."""
CLIENTS = 4


class Client:
    """One connection to the inference port."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    async def infer(self, feeds: Feeds) -> tuple[int, dict[str, Any]]:
        """The status, and the outputs by name."""
        tensors, pieces = [], []
        for name, array in feeds.items():
            kind = (
                "BYTES"
                if array.dtype.kind in "OUS"
                else next(key for key, dtype in datatypes.NUMPY.items() if dtype == array.dtype)
            )
            data = bytes(datatypes.to_bytes(kind, array))
            parameters = {"binary_data_size": len(data)}
            tensors.append({"name": name, "datatype": kind, "shape": array.shape, "parameters": parameters})
            pieces.append(data)
        head = json.dumps({"inputs": tensors, "parameters": {"binary_data_output": True}}).encode()
        body = b"".join((head, *pieces))
        self._writer.write(
            b"POST /v2/models/model/infer HTTP/1.1\r\nHost: x\r\nInference-Header-Content-Length: %d\r\n"
            b"Content-Length: %d\r\n\r\n%b" % (len(head), len(body), body)
        )
        return await self._answer()

    async def _answer(self) -> tuple[int, dict[str, Any]]:
        lines = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = {k.lower(): v.strip() for k, _, v in (line.partition(":") for line in lines[1:])}
        body = await self._reader.readexactly(int(headers["content-length"]))
        status = int(lines[0].split()[1])
        if status != 200:
            return status, json.loads(body)
        length = int(headers.get("inference-header-content-length", len(body)))
        outputs, start = {}, length
        for tensor in json.loads(body[:length])["outputs"]:
            size = tensor["parameters"]["binary_data_size"]
            data = memoryview(body)[start : start + size]
            outputs[tensor["name"]] = datatypes.from_bytes(tensor["datatype"], tuple(tensor["shape"]), data, "x")
            start += size
        return status, outputs

    def close(self) -> None:
        self._writer.close()


@contextlib.asynccontextmanager
async def served(path: Path, *options: str) -> AsyncIterator[tuple[Model, list[Client]]]:
    """The runtime's own parts around one model, on a port."""
    argv = ["--model", str(path), "--model-dir", str(path.parent / "cache"), "--objective-ms", "600000"]
    chosen = settings.load([*argv, "--calibrate-seconds", "0.1", *options], {})
    meter, readiness, published = Meter(), Readiness(), Published()
    limits = Limits(workers=1, depth=1, objective_s=1, line=Line(a=1, b=1), chunk=0, batch=0)
    pool = Pool(asyncio.get_running_loop(), meter, limits, delay_s=chosen.batch_delay_ms / 1000)
    offload, attention = Offload(asyncio.get_running_loop()), Attention(chosen.objective_s)
    plane = DataPlane(chosen, published, readiness, pool, offload, meter=meter, attention=attention)
    api = InferenceApi(plane, name=chosen.name, version=chosen.model_version)
    http = HttpLimits(
        max_body=1 << 26,
        max_body_memory=1 << 28,
        max_header=1 << 14,
        max_connections=64,
        header_timeout_s=600,
        body_timeout_s=600,
        idle_timeout_s=600,
    )
    server = Server(api, http, error_body=error_body, allocate=BufferPool(), align_header=HEADER_LENGTH)
    clients: list[Client] = []
    try:
        await ModelLifecycle(chosen, published, readiness, pool).load(Grant(quota_millicores=1000))
        port = await server.start("127.0.0.1", 0)
        clients += [Client(*await asyncio.open_connection("127.0.0.1", port)) for _ in range(CLIENTS)]
        assert published.servable is not None
        yield published.servable.model, clients
    finally:
        for client in clients:
            client.close()
        await server.close(1)
        await pool.close()


class Tally:
    """How many models were served and equal, refused with a reason, and wrong."""

    def __init__(self) -> None:
        self.counts: collections.Counter[str] = collections.Counter()
        self.wrong: list[str] = []

    async def judge(self, case: Case, folder: Path) -> None:
        """One model, by all of its inputs."""
        path = folder / "m.onnx"
        onnx.save(case.model, path)
        try:
            judge: Judge | None = Judge(path)
        except Exception:  # noqa: BLE001 - onnxruntime refuses it, and so must we
            judge = None
        options = ("--batch-rows", "4", "--chunk-rows", "1", "--batch-delay-ms", "20")
        try:
            async with served(path, *options) as (model, clients):
                # A locale that the machine lacks is there for all, once the runtime has provided it.
                judge = judge or Judge(path)
                before = len(self.wrong)
                for feeds in case.feeds:
                    if feeds is not None:
                        await self._by_all_ways(case, judge, model, clients, feeds)
                self.counts["served"] += len(self.wrong) == before
                assert not model.contradiction, f"{case.name}: {model.contradiction}"
                self.counts["of them, rows independent"] += model.rows_independent
                self.counts["of them, answered by shared runs"] += model.shared_runs > 0
        except ModelError as error:
            self._refused(case, judge, error)

    def _refused(self, case: Case, judge: Judge | None, error: ModelError) -> None:
        carried = {f"tensor({kind})" for kind in ("float16", "float", "double", "string", "bool")}
        carried |= {f"tensor({sign}int{bits})" for sign in ("", "u") for bits in (8, 16, 32, 64)}
        if judge is not None and set(judge.types.values()) <= carried:
            self._wrong(case, f"refused, and onnxruntime serves it: {error}")
        self.counts["refused by onnxruntime" if judge is None else "refused: not tensors of the protocol"] += 1
        assert str(error)

    async def _by_all_ways(self, case: Case, judge: Judge, model: Model, clients: list[Client], feeds: Feeds) -> None:
        await self._ask(case, judge, clients[:1], [feeds], "alone or in parts")
        sizes = {array.shape[0] if array.ndim else 0 for array in feeds.values()}
        if any(spec.shape[:1] != (-1,) for spec in model.engine.inputs) or len(sizes) != 1 or not sizes - {0}:
            return
        rows = sizes.pop()
        single = [{k: a[i % rows : i % rows + 1] for k, a in feeds.items()} for i in range(CLIENTS)]
        await self._ask(case, judge, clients, single, "joined")
        turned = [{k: np.roll(a, i, axis=0) for k, a in feeds.items()} for i in range(CLIENTS)]
        await self._ask(case, judge, clients, turned, "in parts beside others")

    async def _ask(self, case: Case, judge: Judge, clients: list[Client], requests: list[Feeds], way: str) -> None:
        answers = await asyncio.gather(*(c.infer(f) for c, f in zip(clients, requests, strict=True)))
        for feeds, (status, outputs) in zip(requests, answers, strict=True):
            expected = judge.answer(feeds)
            if expected is None:
                if status == 200:
                    self._wrong(case, f"{way}: answered, and onnxruntime can't")
                continue
            if status != 200:
                self._wrong(case, f"{way}: {status} {outputs}")
                continue
            for name, theirs in expected.items():
                ours = outputs.get(name)
                fit = ours is not None and (
                    (ours.shape == theirs.shape) if case.random else same(ours, theirs, SHARED_NOISE)
                )
                if not fit:
                    self._wrong(case, f"{way}: {name} is {ours!r:.200}, not {theirs!r:.200}")

    def _wrong(self, case: Case, what: str) -> None:
        self.wrong.append(f"{case.name}: {what}")


def made(folder: Path) -> Path:
    folder.mkdir()
    return folder


async def _judged(chosen: list[Case], folder: Path) -> Tally:
    tally = Tally()
    for index, case in enumerate(chosen):
        for variant, model in enumerate((case, freed(case))):
            if model is not None:
                await tally.judge(model, made(folder / f"{index}-{variant}"))
    print(f"\nONNX's backend models: {dict(tally.counts)}, wrong: {len(tally.wrong)}")
    return tally


def _sampled(case: Case) -> bool:
    return zlib.crc32(case.name.encode()) % SAMPLE_EVERY == 0


async def test_a_sample_of_onnxs_models_answers_as_onnxruntime_does(tmp_path: Path) -> None:
    tally = await _judged([case for case in cases() if _sampled(case)], tmp_path)
    assert not tally.wrong, "\n".join(tally.wrong[:20])
    assert tally.counts["served"] > 20


@pytest.mark.nightly
async def test_all_of_onnxs_models_answer_as_onnxruntime_does(tmp_path: Path) -> None:
    tally = await _judged(cases(), tmp_path)
    assert not tally.wrong, f"{len(tally.wrong)}:\n" + "\n".join(tally.wrong[:100])
    assert math.fsum(tally.counts.values()) > 1500
