"""Outside judges of the inference port: Triton's client, KServe's, and schemathesis over the OpenAPI description."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tritonclient.http as triton
from onnx import TensorProto, helper, save
from tritonclient.utils import InferenceServerException

from corefit_runtime.tensors.datatypes import NUMPY

ONNX = {
    "BOOL": TensorProto.BOOL,
    "UINT8": TensorProto.UINT8,
    "UINT16": TensorProto.UINT16,
    "UINT32": TensorProto.UINT32,
    "UINT64": TensorProto.UINT64,
    "INT8": TensorProto.INT8,
    "INT16": TensorProto.INT16,
    "INT32": TensorProto.INT32,
    "INT64": TensorProto.INT64,
    "FP16": TensorProto.FLOAT16,
    "FP32": TensorProto.FLOAT,
    "FP64": TensorProto.DOUBLE,
    "BYTES": TensorProto.STRING,
}
PATIENCE_S = 300


def values(datatype: str) -> np.ndarray[Any, Any]:
    """Two rows of three, the ends of the datatype's range among them."""
    kind = NUMPY[datatype]
    if datatype == "BYTES":
        return np.array([[b"", "ж".encode(), b"a,b"], [b'"', b"\\", b"long" * 100]], object)
    if datatype == "BOOL":
        return np.array([[True, False, True], [False, False, True]])
    if kind.kind == "f":
        most = np.finfo(kind).max
        return np.array([[0, -0.5, most], [-most, np.inf, -np.inf]], kind)
    ends = np.iinfo(kind)
    return np.array([[0, 1, 2], [ends.min, ends.max, 7]], kind)


@pytest.fixture
def identities(tmp_path: Path) -> str:
    """A model that gives back a tensor of each datatype."""
    inputs = [helper.make_tensor_value_info(f"x_{name}", kind, ["n", 3]) for name, kind in ONNX.items()]
    outputs = [helper.make_tensor_value_info(f"y_{name}", kind, ["n", 3]) for name, kind in ONNX.items()]
    nodes = [helper.make_node("Identity", [f"x_{name}"], [f"y_{name}"]) for name in ONNX]
    graph = helper.make_graph(nodes, "g", inputs, outputs)
    path = tmp_path / "identities.onnx"
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    return str(path)


def tensor(datatype: str, *, binary: bool) -> triton.InferInput:
    array = values(datatype)
    made = triton.InferInput(f"x_{datatype}", array.shape, datatype)
    if datatype == "BYTES" and not binary:
        array = np.array([[element.decode() for element in row] for row in array], object)
    if datatype == "FP16" and not binary:
        binary = True  # The client itself has no JSON for it.
    made.set_data_from_numpy(array, binary_data=binary)
    return made


def test_tritons_client_gets_every_datatype_back_in_both_forms(start: Any, identities: str) -> None:
    runtime = start(model=identities)
    client = triton.InferenceServerClient(f"127.0.0.1:{runtime.port}", network_timeout=PATIENCE_S)
    for binary in (True, False):
        for wanted in (True, False):
            inputs = [tensor(name, binary=binary) for name in NUMPY]
            outputs = [triton.InferRequestedOutput(f"y_{name}", binary_data=wanted) for name in NUMPY]
            for compression in (None, "gzip", "deflate"):
                answer = client.infer(
                    "m",
                    inputs,
                    outputs=outputs,
                    request_compression_algorithm=compression,
                    response_compression_algorithm=None if wanted else compression,
                )
                for name in NUMPY:
                    assert_same(name, answer.as_numpy(f"y_{name}"))
    client.close()


def assert_same(name: str, found: np.ndarray[Any, Any]) -> None:
    expected = values(name)
    if name == "BYTES":
        texts = [[v if isinstance(v, bytes) else str(v).encode() for v in row] for row in found.tolist()]
        assert texts == expected.tolist()
    else:
        assert found.dtype == expected.dtype
        assert found.tolist() == expected.tolist(), name


def test_the_rest_of_tritons_client(start: Any, identities: str) -> None:
    runtime = start(model=identities)
    client = triton.InferenceServerClient(f"127.0.0.1:{runtime.port}", concurrency=4, network_timeout=PATIENCE_S)
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("m", "1")
    assert not client.is_model_ready("other")
    assert set(client.get_server_metadata()["extensions"]) >= {"binary_tensor_data", "classification"}
    metadata, config = client.get_model_metadata("m"), client.get_model_config("m", "1")
    assert [t["datatype"] for t in metadata["inputs"]] == list(ONNX)
    assert [t["data_type"] for t in config["input"]] == [
        "TYPE_STRING" if name == "BYTES" else f"TYPE_{name}" for name in ONNX
    ]
    inputs = [tensor(name, binary=True) for name in NUMPY]
    wanted = [triton.InferRequestedOutput("y_INT32", class_count=2)]
    classes = client.infer("m", inputs, outputs=wanted).as_numpy("y_INT32")
    assert classes.tolist() == [[b"2.000000:2", b"1.000000:1"], [b"2147483647.000000:1", b"7.000000:2"]]
    many = [client.async_infer("m", inputs, request_id=str(number)) for number in range(16)]
    assert [answer.get_result().get_response()["id"] for answer in many] == [str(number) for number in range(16)]
    for call, says in (
        (lambda: client.infer("m", inputs[1:]), "missing"),
        (lambda: client.infer("other", inputs), "no such model"),
        (client.get_model_repository_index, "not served here"),
        (lambda: client.get_inference_statistics("m"), "not served here"),
    ):
        with pytest.raises(InferenceServerException, match=says):
            call()
    client.close()


def judged(start: Any, model: str, *options: str) -> subprocess.CompletedProcess[str]:
    """What schemathesis says of a runtime, by the description that this serves."""
    runtime = start(model=model)
    program = Path(sys.executable).with_name("schemathesis")
    # That data which fits the description is taken can't be shown: a schema doesn't say that shape and data agree.
    checks = ("--checks", "all", "--exclude-checks", "ignored_auth,positive_data_acceptance")
    url = f"http://127.0.0.1:{runtime.port}/openapi.json"
    config = ("--config-file", str(Path(__file__).with_name("schemathesis.toml")))
    command = [str(program), *config, "run", url, *checks, "--no-color", "--request-timeout", str(PATIENCE_S), *options]
    hooks = {"SCHEMATHESIS_HOOKS": "judge_hooks", "PYTHONPATH": str(Path(__file__).parent)}
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=Path(model).parent, env={**os.environ, **hooks}
    )
    assert runtime.report()["counters"].get("failed", 0) == 0
    assert '"level": "error"' not in runtime.log.read_text()
    return done


# The server keeps nothing between requests: the phase `stateful` has nothing to find.
PHASES = ("--phases", "examples,coverage,fuzzing")


def test_schemathesis_finds_nothing(start: Any, identities: str) -> None:
    done = judged(start, identities, *PHASES, "--max-examples", "10", "--seed", "1")
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]


@pytest.mark.nightly
@pytest.mark.parametrize("model", ["identities", "negate", "coupled"])
def test_schemathesis_finds_nothing_in_many_requests(start: Any, request: pytest.FixtureRequest, model: str) -> None:
    done = judged(start, request.getfixturevalue(model), *PHASES, "--max-examples", "100")
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]


@pytest.mark.nightly
def test_kserves_client_gets_every_datatype_back_in_both_forms(start: Any, identities: str) -> None:
    """In an environment of its own: kserve brings sixty packages, some of other versions than ours."""
    runtime = start(model=identities)
    uv = shutil.which("uv") or str(Path(__file__).parents[2] / ".uv" / "bin" / "uv")
    script = Path(__file__).with_name("kserve_client.py")
    command = [uv, "run", "--no-project", "--no-config", "--with", "kserve==0.21.0", "python", str(script)]
    environment = {key: value for key, value in os.environ.items() if key != "VIRTUAL_ENV"}
    done = subprocess.run(
        [*command, f"http://127.0.0.1:{runtime.port}"], capture_output=True, text=True, check=False, env=environment
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == {"binary": sorted(NUMPY), "json": sorted(NUMPY)}


@pytest.mark.nightly
def test_mlperfs_load_generator_gets_its_queries_answered(tmp_path: Path) -> None:
    """Its verdict on latency is the bench's (`make bench-mlperf`): neighbours never fail a test."""
    root = Path(__file__).parents[2]
    command = [sys.executable, str(root / "bench" / "mlperf" / "run.py"), "--quick", "--model", "tiny"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "LoadGen says" in done.stdout
