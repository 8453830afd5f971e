"""The files of a model: what is served is what was checked, and stays so."""

import gc
import hashlib
import os
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper

from corefit_core.errors import ChecksumMismatch, ModelInvalid, ModelUnavailable
from corefit_runtime.engine.onnxruntime import OnnxRuntimeEngine
from corefit_runtime.engine.types import Threads
from corefit_runtime.models import model_files

ROWS = 64


def external(folder: Path, location: str = "e.data", value: float = 1.0) -> Path:
    """A table of ones whose weights are in another file."""
    folder.mkdir(parents=True, exist_ok=True)
    tensor = TensorProto(name="t", data_type=TensorProto.FLOAT, dims=[ROWS, 256], data_location=TensorProto.EXTERNAL)
    for key, text in (("location", location), ("offset", "0"), ("length", str(ROWS * 256 * 4))):
        tensor.external_data.add(key=key, value=text)
    graph = helper.make_graph(
        [
            helper.make_node("Gather", ["t", "i"], ["g"]),
            helper.make_node("ReduceMean", ["g"], ["y"], axes=[1], keepdims=0),
        ],
        "g",
        [helper.make_tensor_value_info("i", TensorProto.INT64, ["n"])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n"])],
        [tensor],
    )
    path = folder / "m.onnx"
    path.write_bytes(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8).SerializeToString()
    )
    if ".." not in location and not location.startswith("/"):
        target = folder / location
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(weights(value))
    return path


def in_one_file(path: Path) -> Path:
    graph = helper.make_graph(
        [helper.make_node("Neg", ["x"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n"])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n"])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    path.write_bytes(model.SerializeToString())
    return path


def weights(value: float) -> bytes:
    return np.full((ROWS, 256), value, np.float32).tobytes()


def answer(engine: OnnxRuntimeEngine) -> Any:
    return engine.run(None, {"i": np.array([5, ROWS - 1])})[0].tolist()


def test_weights_that_are_changed_or_cut_stay_what_was_checked(tmp_path: Path) -> None:
    """A file that was cut ended the process with SIGBUS; half overwritten, two models answered as one."""
    path = external(tmp_path / "model")
    files = model_files.take(path, "m", "", tmp_path / "held")
    engine = OnnxRuntimeEngine(files, Threads())
    with (path.parent / "e.data").open("r+b") as file:
        file.write(weights(7.0))
    assert answer(engine) == [1.0, 1.0]
    os.truncate(path.parent / "e.data", 100)
    assert answer(engine) == [1.0, 1.0]
    assert answer(engine.with_threads(Threads(intra=2))) == [1.0, 1.0]


def test_the_checksum_covers_the_weights_and_is_what_sha256sum_says(tmp_path: Path) -> None:
    path = external(tmp_path / "model", "sub/e.data")
    found = model_files.take(path, "m", "", tmp_path / "held").sha256
    command = "(sha256sum < m.onnx; sha256sum sub/e.data) | sha256sum"
    assert found == subprocess.check_output(["sh", "-c", command], cwd=path.parent, text=True).split()[0]
    assert model_files.take(path, "m", found.upper(), tmp_path / "held").unpinned == ""
    (path.parent / "sub/e.data").write_bytes(weights(7.0))
    with pytest.raises(ChecksumMismatch, match=r"has the SHA-256"):
        model_files.take(path, "m", found, tmp_path / "held")


def test_a_checksum_of_the_models_file_alone_is_said_to_be_no_more(tmp_path: Path) -> None:
    path = external(tmp_path / "model")
    files = model_files.take(path, "m", hashlib.sha256(path.read_bytes()).hexdigest(), tmp_path / "held")
    assert files.sha256 in files.unpinned
    assert "not the weights in e.data" in files.unpinned


def test_where_a_checksum_must_cover_all_files_the_one_of_the_models_file_is_refused(tmp_path: Path) -> None:
    """Whoever could write to the claim changed the weights under a pinned checksum."""
    path, held = external(tmp_path / "model"), tmp_path / "held"
    whole = model_files.take(path, "m", "", held).sha256
    own = hashlib.sha256(path.read_bytes()).hexdigest()
    with pytest.raises(ChecksumMismatch, match=rf"not the weights in e\.data: {whole} covers all files"):
        model_files.take(path, "m", own, held, strict=True)
    gc.collect()
    assert not list(held.glob("weights-*"))
    for pinned in ("", whole):
        assert model_files.take(path, "m", pinned, held, strict=True).unpinned == ""


def test_a_checksum_of_a_model_in_one_file_covers_all_of_it(tmp_path: Path) -> None:
    path = in_one_file(tmp_path / "m.onnx")
    own = hashlib.sha256(path.read_bytes()).hexdigest()
    assert model_files.take(path, "m", own, tmp_path, strict=True).sha256 == own


def test_a_message_names_a_few_of_many_files() -> None:
    assert model_files.listed(["a", "b", "c"]) == "a, b, c"
    assert model_files.listed(["a", "b", "c", "d", "e"]) == "a, b, c and 2 more"


@pytest.mark.parametrize("location", ["../e.data", "/etc/hostname", "sub/../../e.data", "e\0/.."])
def test_weights_outside_the_models_folder_are_refused(tmp_path: Path, location: str) -> None:
    path = external(tmp_path / "model", location)
    (tmp_path / "e.data").write_bytes(weights(1.0))
    with pytest.raises(ModelInvalid, match="outside its own folder"):
        model_files.take(path, "m", "", tmp_path / "held")
    assert not list((tmp_path / "held").glob("weights-*/e.data"))


def test_a_link_out_of_the_models_folder_is_refused_and_one_within_it_followed(tmp_path: Path) -> None:
    """As a ConfigMap's volume is made: links within the folder."""
    path = external(tmp_path / "model")
    (tmp_path / "e.data").write_bytes(weights(1.0))
    (path.parent / "e.data").rename(path.parent / "..data")
    (path.parent / "e.data").symlink_to("..data")
    assert answer(OnnxRuntimeEngine(model_files.take(path, "m", "", tmp_path / "held"), Threads())) == [1.0, 1.0]
    (path.parent / "e.data").unlink()
    (path.parent / "e.data").symlink_to("../e.data")
    with pytest.raises(ModelInvalid, match="outside its own folder"):
        model_files.take(path, "m", "", tmp_path / "held")


def test_weights_that_are_missing_or_no_file_are_named(tmp_path: Path) -> None:
    path = external(tmp_path / "model")
    (path.parent / "e.data").unlink()
    with pytest.raises(ModelUnavailable, match=r"e\.data"):
        model_files.take(path, "m", "", tmp_path / "held")
    os.mkfifo(path.parent / "e.data")
    with pytest.raises(ModelInvalid, match="not a file"):
        model_files.take(path, "m", "", tmp_path / "held")


def test_copies_go_with_their_model_and_those_of_ended_processes_at_the_next_start(tmp_path: Path) -> None:
    path, held = external(tmp_path / "model"), tmp_path / "held"
    left = held / "weights-left"
    left.mkdir(parents=True)
    (left / "e.data").write_bytes(b"x")
    first = model_files.take(path, "m", "", held)
    assert not left.exists()
    second = model_files.take(path, "m", "", held)
    assert len(list(held.glob("weights-*"))) == 2
    assert Path(str(first.open())).exists()
    del first
    gc.collect()
    assert len(list(held.glob("weights-*"))) == 1
    assert Path(str(second.open())).exists()


def test_a_model_in_one_file_is_made_from_the_bytes_that_were_checked(tmp_path: Path) -> None:
    path = in_one_file(tmp_path / "m.onnx")
    files = model_files.take(path, "m", "", tmp_path / "held")
    path.write_bytes(b"another")
    engine = OnnxRuntimeEngine(files, Threads())
    assert engine.run(None, {"x": np.ones(1, np.float32)})[0].tolist() == [-1.0]
    with pytest.raises(ChecksumMismatch, match="was changed since it was loaded"):
        engine.with_threads(Threads(intra=2))
    assert not (tmp_path / "held").exists()


@pytest.mark.parametrize(
    ("data", "named"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 3\n", "a Git LFS pointer"),
        (b"<!DOCTYPE html><html></html>", "an HTML page"),
        (b"PK\x03\x04" + bytes(60), "a zip archive"),
    ],
)
def test_what_lies_on_a_disk_in_place_of_a_model_is_named(tmp_path: Path, data: bytes, named: str) -> None:
    """Downloads were looked at, files of a claim were not."""
    (tmp_path / "m.onnx").write_bytes(data)
    with pytest.raises(ModelInvalid, match=f"m is no ONNX model but {named}"):
        model_files.take(tmp_path / "m.onnx", "m", "", tmp_path)


@pytest.mark.parametrize("data", [b"\xff" * 30, b"\x3a\xff\xff\xff\xff\x0f", b"\x3a\x05ab", b"not a model at all"])
def test_what_is_no_model_is_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "m.onnx").write_bytes(data)
    with pytest.raises(ModelInvalid):
        OnnxRuntimeEngine(model_files.take(tmp_path / "m.onnx", "m", "", tmp_path), Threads())
    with pytest.raises(ChecksumMismatch):
        model_files.take(tmp_path / "m.onnx", "m", "0" * 64, tmp_path)
