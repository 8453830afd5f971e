"""The load report of a response: ORCA, as Envoy's and gRPC's balancers read it, and the metrics of endpoint pickers."""

import asyncio
import base64
import json
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any, cast

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message_factory
from onnx import TensorProto
from prometheus_client.parser import text_string_to_metric_families
from unit.port import identity, numbers, port, request, status
from unit.process import Process

from corefit_core.errors import Shed
from corefit_core.report import Gauges, PlanInForce
from corefit_runtime.admin import metrics
from corefit_runtime.dataplane.load import WINDOW_S, LoadMeter
from corefit_runtime.engine.onnxruntime import OnnxRuntimeEngine
from corefit_runtime.telemetry.meter import Meter

WISH = b"Endpoint-Load-Metrics-Format: "
FIELDS = {"cpu_utilization": 1, "mem_utilization": 2, "rps_fractional": 6, "eps": 7, "application_utilization": 9}
"""github.com/cncf/xds, xds/data/orca/v3/orca_load_report.proto."""
REPORTED = {"cpuUtilization", "rpsFractional", "eps", "applicationUtilization", "namedMetrics"}


@pytest.fixture(scope="module")
def floats(tmp_path_factory: pytest.TempPathFactory) -> OnnxRuntimeEngine:
    return identity(tmp_path_factory.mktemp("floats"), TensorProto.FLOAT)


def headers(answer: bytes) -> dict[str, str]:
    lines = answer.partition(b"\r\n\r\n")[0].decode().split("\r\n")[1:]
    return {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}


def message() -> Any:
    """An OrcaLoadReport, made from its fields."""
    file = descriptor_pb2.FileDescriptorProto(name="orca.proto", package="xds.data.orca.v3", syntax="proto3")
    report = file.message_type.add(name="OrcaLoadReport")
    for name, number in FIELDS.items():
        report.field.add(name=name, number=number, type=1, label=1)
    entry = report.nested_type.add(name="NamedMetricsEntry", options={"map_entry": True})
    entry.field.add(name="key", number=1, type=9, label=1)
    entry.field.add(name="value", number=2, type=1, label=1)
    full = ".xds.data.orca.v3.OrcaLoadReport.NamedMetricsEntry"
    report.field.add(name="named_metrics", number=8, type=11, label=3, type_name=full)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("xds.data.orca.v3.OrcaLoadReport"))()


def read(found: Mapping[str, str]) -> Any:
    """The report in these headers, by the rules of Envoy's `orca_parser.cc`."""
    report = message()
    if "endpoint-load-metrics-bin" in found:
        report.ParseFromString(base64.b64decode(found["endpoint-load-metrics-bin"], validate=True))
        return report
    form, _, text = found["endpoint-load-metrics"].partition(" ")
    if form == "JSON":
        return json_format.Parse(text, report)
    assert form == "TEXT"
    for pair in text.split(","):
        name, _, value = pair.partition("=")
        if name.startswith("named_metrics."):
            report.named_metrics[name.removeprefix("named_metrics.")] = float(value)
        else:
            assert name in FIELDS
            setattr(report, name, float(value))
    return report


@pytest.mark.parametrize("form", ["TEXT", "JSON", "BIN", "text"])
async def test_a_client_that_asks_gets_the_load_with_the_answer(floats: OnnxRuntimeEngine, form: str) -> None:
    async with port(floats) as made:
        made.plane.load._ended = made.plane.load._begun = _earlier(made.plane.load)
        answer = await made.ask(request(numbers(3), WISH + form.encode()))
    assert status(answer) == 200
    report = read(headers(answer))
    assert set(json_format.MessageToDict(report)) <= REPORTED
    assert report.rps_fractional == pytest.approx(1 / 9, abs=0.1)
    assert report.application_utilization == 1, "no plan: it can take nothing"
    assert dict(report.named_metrics) == {"num_requests_waiting": 0, "num_requests_running": 0}


def _earlier(load: LoadMeter) -> Any:
    sums = load._sums()
    return type(sums)(
        at_s=sums.at_s - 9, cpu_s=sums.cpu_s, busy_s=sums.busy_s, arrivals=sums.arrivals, errors=sums.errors
    )


@pytest.mark.parametrize("header", [(), (WISH + b"XML",), (WISH,)])
async def test_who_does_not_ask_gets_none(floats: OnnxRuntimeEngine, header: tuple[bytes, ...]) -> None:
    async with port(floats) as made:
        answer = await made.ask(request(numbers(3), *header))
    assert status(answer) == 200
    assert not [name for name in headers(answer) if name.startswith("endpoint-load")]


@pytest.mark.parametrize("count", [3, 2000])
async def test_a_refusal_has_the_load_too(floats: OnnxRuntimeEngine, count: int) -> None:
    """With the body of the request read, and before: a balancer needs to hear of it from where it is refused."""
    async with port(floats) as made:

        def refused(*_: object) -> Shed:
            return Shed("full", cause="queue-full", retry_after_s=1)

        def submit(_: object) -> None:
            raise refused()

        made.pool.submit = submit  # type: ignore[method-assign]
        made.pool.full = made.pool.refusal = refused  # type: ignore[method-assign]
        assert status(await made.ask(request(numbers(3)))) == 503
        answer = await made.ask(request(numbers(count), WISH + b"JSON"))
    assert status(answer) == 503
    report = read(headers(answer))
    assert json.loads(headers(answer)["endpoint-load-metrics"][5:]).keys() >= {"eps", "named_metrics"}
    assert report.application_utilization == 1


class Pool:
    """One that says what it is made to."""

    def __init__(self) -> None:
        self.busy, self.found = 0.0, Gauges()

    def busy_s(self) -> float:
        return self.busy

    def gauges(self) -> Gauges:
        return self.found


def test_rates_are_of_the_last_second_and_what_waits_is_of_now() -> None:
    meter, pool, clock = Meter(), Pool(), [100.0]
    plan = PlanInForce(grant_millicores=2000, workers=2, threads_per_worker=1, queue_depth=8)
    load = LoadMeter(
        meter, cast("Any", pool), cast("Any", SimpleNamespace(servable=SimpleNamespace(plan=plan))), lambda: clock[0]
    )
    meter.arrivals, pool.busy = 3, 0.5
    clock[0] += WINDOW_S / 2
    first = load.now()
    assert (first.requests, first.utilization) == (0, 0), "no second is over"

    meter.arrivals, pool.busy = 20, 1.0
    meter.rejected["queue-full"], meter.failed, meter.expired = 3, 1, 1
    clock[0] += 3 * WINDOW_S / 2
    pool.found = Gauges(queued=3, in_flight=5, busy_workers=2)
    whole = load.now()
    assert (whole.requests, whole.errors) == (20 / 2, 5 / 2)
    assert whole.utilization == (1.0 / 2 + 3) / 2
    assert (whole.waiting, whole.running) == (3, 2)

    meter.arrivals += 100
    pool.found = Gauges()
    clock[0] += WINDOW_S / 2
    now = load.now()
    assert (now.requests, now.utilization, now.waiting) == (whole.requests, 0.25, 0), "the window is still the last one"
    clock[0] += WINDOW_S / 2
    assert load.now().requests == 100
    clock[0] += WINDOW_S
    assert load.now().requests == 0


async def test_endpoint_pickers_find_what_waits_by_names_that_they_know() -> None:
    pool, process = Pool(), Process()
    process.reporter.observe(cast("Any", pool))
    pool.found = Gauges(queued=3, in_flight=5)
    await asyncio.sleep(0)
    found = {
        (sample.name, sample.labels.get("request_type")): sample.value
        for family in text_string_to_metric_families(metrics.render(process.reporter).decode())
        for sample in family.samples
        if sample.name.startswith("nv_")
    }
    assert found == {
        ("nv_inference_pending_request_count", None): 3,
        ("nv_trt_llm_request_metrics", "waiting"): 3,
        ("nv_trt_llm_request_metrics", "scheduled"): 2,
    }
