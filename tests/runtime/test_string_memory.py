"""What strings take is bounded before a run: onnxruntime keeps their characters outside of the memory of runs."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import ModelProto, TensorProto, helper

from corefit_runtime.onnx import reader
from corefit_runtime.rows import strings
from corefit_runtime.tensors.strings import Strings
from corefit_runtime.tensors.tensor_spec import TensorSpec

FREE = ["n"]
LEARNED = {"ArrayFeatureExtractor", "LabelEncoder", "LinearClassifier", "OneHotEncoder", "ZipMap"}
COUNT = TensorProto.INT64
TEXT = TensorProto.STRING


def model(nodes: list[Any], inputs: dict[str, tuple[int, list[Any]]], outputs: dict[str, tuple[int, list[Any]]]) -> Any:
    weights = [
        helper.make_tensor("two", COUNT, [2], [0, 1]),
        helper.make_tensor("minus", COUNT, [1], [-1]),
        helper.make_tensor("names", TEXT, [2], [b"cat", b"dog"]),
    ]
    used = {name for node in nodes for name in node.input}
    values = [
        [helper.make_tensor_value_info(name, kind, shape) for name, (kind, shape) in several.items()]
        for several in (inputs, outputs)
    ]
    graph = helper.make_graph(nodes, "strings", *values, [weight for weight in weights if weight.name in used])
    opsets = [helper.make_opsetid("", 20), helper.make_opsetid("ai.onnx.ml", 3)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=9)


def node(op: str, inputs: str, output: str, **attributes: Any) -> Any:
    domain = "ai.onnx.ml" if op in LEARNED else ""
    return helper.make_node(op, inputs.split(), output.split(), domain=domain, **attributes)


REPEATING = model([node("Expand", "x shape", "y")], {"x": (TEXT, [1]), "shape": (COUNT, [1])}, {"y": (TEXT, FREE)})
HIDDEN = model(
    [node("Expand", "x shape", "z"), node("Shape", "z", "y")],
    {"x": (TEXT, [1]), "shape": (COUNT, [1])},
    {"y": (COUNT, [1])},
)
CHAIN = model(
    [node("Reshape", "x minus", "a"), node("Identity", "a", "b"), node("Concat", "b x", "y", axis=0)],
    {"x": (TEXT, FREE)},
    {"y": (TEXT, FREE)},
)
LABELS = model(
    [node("LabelEncoder", "x", "y", keys_int64s=[0, 1], values_strings=["c" * 64, "d" * 64])],
    {"x": (COUNT, FREE)},
    {"y": (TEXT, FREE)},
)


BACK = {"keys_strings": ["c" * 64, "d" * 64], "values_int64s": [0, 1]}


def inside() -> Any:
    """Labels that are made in the branches of an If."""
    branch = helper.make_graph(
        [node("LabelEncoder", "x", "z", keys_int64s=[0], values_strings=["c" * 64]), node("Shape", "z", "w")],
        "branch",
        [],
        [helper.make_tensor_value_info("w", COUNT, [1])],
    )
    nodes = [node("If", "b", "y", then_branch=branch, else_branch=branch)]
    return model(nodes, {"x": (COUNT, FREE), "b": (TensorProto.BOOL, [])}, {"y": (COUNT, [1])})


INSIDE = inside()
DOUBLED = model(
    [node("Identity", "x", "t0"), *[node("Concat", f"t{i} t{i}", f"t{i + 1}", axis=0) for i in range(5000)]],
    {"x": (TEXT, FREE)},
    {"t5000": (TEXT, FREE)},
)
REMADE = model(
    [*LABELS.graph.node, node("LabelEncoder", "y", "z", **BACK), node("ReduceMax", "z", "w", keepdims=0)],
    {"x": (COUNT, FREE)},
    {"w": (COUNT, [])},
)


def analysed(made: ModelProto) -> Strings:
    def specs(values: Any) -> list[TensorSpec]:
        return [
            TensorSpec(
                name=value.name,
                datatype="BYTES" if value.type.tensor_type.elem_type == TEXT else "INT64",
                shape=tuple(d.dim_value or -1 for d in value.type.tensor_type.shape.dim),
            )
            for value in values
        ]

    graph = reader.parse(memoryview(made.SerializeToString()))
    return strings.analyse(graph, specs(made.graph.input), specs(made.graph.output))


@pytest.mark.parametrize(
    ("made", "found"),
    [
        (REPEATING, Strings({"x": 3}, 0, repeated=True)),
        (HIDDEN, Strings({"x": 2}, 0, repeated=True)),
        # Its own, of Reshape, of Identity, twice of Concat, and twice as the answer's objects.
        (CHAIN, Strings({"x": 7})),
        # In the engine, and as the answer's objects.
        (LABELS, Strings({}, 2)),
        (
            model([node("Gather", "x two", "y", axis=1)], {"x": (TEXT, ["n", 5])}, {"y": (TEXT, ["n", 2])}),
            Strings({"x": 5}),
        ),
        (
            model([node("Gather", "x i", "y")], {"x": (TEXT, FREE), "i": (COUNT, ["m"])}, {"y": (TEXT, ["m"])}),
            Strings({"x": 3}, 0, repeated=True),
        ),
        (model([node("Gather", "names x", "y")], {"x": (COUNT, FREE)}, {"y": (TEXT, FREE)}), Strings({}, 2)),
        (
            model(
                [node("StringNormalizer", "x", "a"), node("Tokenizer", "a", "b", pad_value="#", mincharnum=1, mark=0)],
                {"x": (TEXT, FREE)},
                {"b": (TEXT, ["n", "m"])},
            ),
            Strings({"x": 29}),
        ),
        (model([node("Add", "x x", "y")], {"x": (COUNT, FREE)}, {"y": (COUNT, FREE)}), Strings()),
        (
            model(
                [node("Gather", "names x", "z"), node("Tile", "z x", "y")], {"x": (COUNT, FREE)}, {"y": (TEXT, FREE)}
            ),
            Strings({}, 3, repeated=True),
        ),
        # Labels that are not answered, or that are kept for a while.
        (
            model(
                [*LABELS.graph.node, node("Identity", "y", "z"), node("LabelEncoder", "z", "w", **BACK)],
                {"x": (COUNT, ["n", 3])},
                {"w": (COUNT, ["n", 3])},
            ),
            Strings({}, 6),
        ),
        (
            model(
                [node("Cast", "x", "z", to=TEXT), node("Shape", "z", "y")], {"x": (COUNT, FREE)}, {"y": (COUNT, [1])}
            ),
            Strings({}, 1),
        ),
        # Not so many as the request has rows.
        *[
            (
                model(
                    [node(op, "x shape", "z"), node(*last, "z", "y", **named)],
                    {"x": (COUNT, FREE), "shape": (COUNT, [1])},
                    {"y": (TEXT, FREE)},
                ),
                Strings({}, 2, repeated=True),
            )
            for op in ("Expand", "Tile", "Reshape", "Gather")
            for last, named in (
                (("LabelEncoder",), {"keys_int64s": [0, 1], "values_strings": ["cat", "dog"]}),
                (("Cast",), {"to": TEXT}),
            )
        ],
        # A string of a request that is cast to one is there twice.
        (
            model([node("Cast", "x", "y", to=TEXT)], {"x": (TEXT, FREE)}, {"y": (TEXT, FREE)}),
            Strings({"x": 3}),
        ),
        (INSIDE, Strings({}, 0, repeated=True)),
        # Categories that are read make no strings.
        (
            model(
                [node("OneHotEncoder", "x", "z", cats_strings=["cat", "dog"]), node("Abs", "z", "y")],
                {"x": (TEXT, FREE)},
                {"y": (TensorProto.FLOAT, ["n", 2])},
            ),
            Strings({"x": 1}),
        ),
        (
            model(
                [
                    node(
                        "LinearClassifier", "x", "label scores", coefficients=[1.0, 1.0], classlabels_strings=["a", "b"]
                    ),
                    node("ZipMap", "scores", "y", classlabels_strings=["a", "b"]),
                ],
                {"x": (TensorProto.FLOAT, ["n", 1])},
                {"label": (TEXT, FREE)},
            ),
            # The label, as an object too, and a map of two: no tensor can carry it, but it is made.
            Strings({}, 4),
        ),
    ],
)
def test_the_graph_says_what_becomes_of_strings(made: ModelProto, found: Strings) -> None:
    assert analysed(made) == found


def test_a_graph_that_doubles_its_strings_is_looked_at_in_no_time() -> None:
    """The count had a bit more with each operator: 600 MB of numbers by a file of 3 MB."""
    assert analysed(DOUBLED) == Strings({"x": strings.MOST})


class Text:
    """A runtime in a pod of 512 MB, and what it answers."""

    def __init__(self, start: Any, folder: Path, made: ModelProto) -> None:
        (folder / "strings.onnx").write_bytes(made.SerializeToString())
        self.runtime = start("--memory", "512Mi", "--no-calibrate", model=str(folder / "strings.onnx"))

    def ask(self, **inputs: Any) -> int:
        tensors = []
        for name, values in inputs.items():
            kind = "BYTES" if isinstance(values[0], str) else "INT64"
            tensors.append({"name": name, "datatype": kind, "shape": [len(values)], "data": values})
        status: int = self.runtime.call("POST /v2/models/m/infer", {"inputs": tensors})[0]
        return status

    def ask_binary(self, count: int) -> int:
        """Asks with so many numbers."""
        data = np.ones(count, np.int64).tobytes()
        parameters = {"binary_data_size": len(data)}
        tensor = {"name": "x", "datatype": "INT64", "shape": [count], "parameters": parameters}
        text = json.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}}).encode()
        headers = {"Inference-Header-Content-Length": str(len(text))}
        status: int = self.runtime.call("POST /v2/models/m/infer", text + data, headers)[0]
        return status

    @property
    def highest_mb(self) -> float:
        lines = Path(f"/proc/{self.runtime.process.pid}/status").read_text().splitlines()
        return int(next(line for line in lines if line.startswith("VmHWM:")).split()[1]) / 1024


@pytest.mark.parametrize("made", [REPEATING, HIDDEN], ids=["answered", "hidden"])
def test_a_model_that_repeats_strings_takes_no_more_than_there_is(start: Any, tmp_path: Path, made: ModelProto) -> None:
    """A string of 10 KB, 100,000 times, took 2 GB."""
    text = Text(start, tmp_path, made)
    assert text.ask(x=["x" * 10_000], shape=[100_000]) == 413
    assert text.ask(x=["x" * 128], shape=[100_000_000]) == 413
    for count in (100_000, 400_000, 600_000):
        assert text.ask(x=["x" * 128], shape=[count]) in {200, 413, 503}
    assert text.ask(x=["x" * 100], shape=[1000]) == 200
    assert text.highest_mb < 512


def test_strings_of_a_request_are_charged_as_often_as_they_are_copied(start: Any, tmp_path: Path) -> None:
    text = Text(start, tmp_path, CHAIN)
    assert text.ask(x=["x" * 400_000] * 10) == 200
    assert text.ask(x=["x" * 1_000_000] * 30) == 413
    assert text.ask(x=["x"] * 100) == 200
    assert text.highest_mb < 512


def test_labels_that_nobody_gets_are_charged_as_well(start: Any, tmp_path: Path) -> None:
    """Between two operators four million names of 64 bytes took a gigabyte, and only a number was answered."""
    text = Text(start, tmp_path, REMADE)
    assert text.ask_binary(4_000_000) == 413
    assert text.ask_binary(200_000) == 200
    assert text.highest_mb < 512


def test_labels_are_charged_before_they_are_made(start: Any, tmp_path: Path) -> None:
    text = Text(start, tmp_path, LABELS)
    assert text.ask_binary(4_000_000) == 413
    assert text.ask_binary(200_000) == 200
    assert text.highest_mb < 512
