"""What the engine may load."""

import json
import re
from pathlib import Path
from typing import Any, cast

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from corefit_core.errors import InvalidInput, ModelInvalid, TooLarge
from corefit_runtime.engine import locales
from corefit_runtime.engine.onnxruntime import OnnxRuntimeEngine
from corefit_runtime.engine.types import Threads
from corefit_runtime.protocol.codec import Codec, feeds
from corefit_runtime.protocol.signature import Signature


def refers_to(location: str, folder: Path) -> Path:
    """A model whose weights lie in a file of their own."""
    weights = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[4], data_location=TensorProto.EXTERNAL)
    for key, value in (("location", location), ("offset", "0"), ("length", "16")):
        weights.external_data.add(key=key, value=value)
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 4]) for name in "xy")
    graph = helper.make_graph([helper.make_node("Add", ["x", "w"], ["y"])], "g", [x], [y], initializer=[weights])
    path = folder / "m.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    return path


def test_weights_may_lie_beside_the_model_and_nowhere_else(tmp_path: Path) -> None:
    folder = tmp_path / "models"
    folder.mkdir()
    for place in (folder, tmp_path):
        (place / "w.bin").write_bytes(np.ones(4, np.float32).tobytes())
    [y] = OnnxRuntimeEngine(refers_to("w.bin", folder), Threads()).run(None, {"x": np.zeros((1, 4), np.float32)})
    assert y.tolist() == [[1.0] * 4]
    for outside in ("../w.bin", str(tmp_path / "w.bin")):
        with pytest.raises(ModelInvalid, match=r"m\.onnx"):
            OnnxRuntimeEngine(refers_to(outside, folder), Threads())


F, N, S = TensorProto.FLOAT, TensorProto.INT64, TensorProto.STRING
ONES = np.ones((2, 2), np.float32)


def of_one_node(
    folder: Path, operator: str, kinds: dict[str, int], kind: int = F, **attributes: Any
) -> OnnxRuntimeEngine:
    inputs = [helper.make_tensor_value_info(name, kind, ["n", "m"][: 1 + (kind == F)]) for name, kind in kinds.items()]
    node = helper.make_node(operator, list(kinds), ["y"], **attributes)
    graph = helper.make_graph([node], "g", inputs, [helper.make_tensor_value_info("y", kind, None)])
    path = folder / "m.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    return OnnxRuntimeEngine(path, Threads())


@pytest.mark.parametrize(
    ("operator", "kinds", "feeds", "refused"),
    [
        (
            "Add",
            {"a": F, "b": F},
            {"a": ONES, "b": np.ones((3, 2), np.float32)},
            (InvalidInput, "'n' is 2 in input 'a'"),
        ),
        ("Cast", {"a": S}, {"a": np.array(["abc"], object)}, (InvalidInput, "Cast node: a string is not a number")),
        ("Gather", {"a": F, "b": N}, {"a": ONES, "b": np.array([9])}, (InvalidInput, "out of data bounds")),
        ("Reshape", {"a": F, "b": N}, {"a": ONES, "b": np.array([9])}, (InvalidInput, "cannot be reshaped")),
        ("ConstantOfShape", {"a": N}, {"a": np.array([2**40, 2**20])}, (TooLarge, "more memory for this input")),
    ],
)
def test_what_an_operator_refuses_is_the_clients_to_mend(
    tmp_path: Path, operator: str, kinds: dict[str, int], feeds: dict[str, Any], refused: tuple[type[Exception], str]
) -> None:
    """It was answered with 500, counted as a fault of the server, and logged with a traceback each time."""
    engine = of_one_node(tmp_path, operator, kinds, **({"to": F} if operator == "Cast" else {}))
    with pytest.raises(refused[0], match=re.escape(refused[1])):
        engine.run(None, feeds)


@pytest.mark.parametrize("locale", [None, "en_US.UTF-8", "fr_FR.UTF-8", "de_DE"])
def test_a_text_model_needs_no_locale(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, locale: str | None) -> None:
    """Every scikit-learn text model was refused: its StringNormalizer names en_US.UTF-8, which no image has."""
    monkeypatch.setenv("LOCPATH", "")
    named = {"locale": locale} if locale else {}
    engine = of_one_node(tmp_path, "StringNormalizer", {"a": S}, kind=S, case_change_action="LOWER", **named)
    [answer] = engine.run(None, {"a": np.array(["ABÉ", "ЖŠ"], object)})
    assert answer.tolist() == ["abé", "жš"]
    again = engine.with_threads(Threads(intra=2))
    assert again.run(None, {"a": np.array(["Ü"], object)})[0].tolist() == ["ü"]
    assert again.notes == engine.notes


def test_a_text_model_of_scikit_learn_answers_as_it_does_there(tmp_path: Path) -> None:
    from skl2onnx import convert_sklearn
    from skl2onnx.common.data_types import StringTensorType
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    # ASCII: the converter's own tokens are made of no other letters.
    texts = ["Good film", "bad film", "very GOOD", "Very bad", "A wonderful FILM", "awful"]
    model = make_pipeline(TfidfVectorizer(), LogisticRegression()).fit(texts, [1, 0, 1, 0, 1, 0])
    made = convert_sklearn(
        model,
        initial_types=[("x", StringTensorType([None, 1]))],
        options={id(model): {"zipmap": False}},
        target_opset=17,
    )
    (tmp_path / "m.onnx").write_bytes(made.SerializeToString())
    labels, scores = OnnxRuntimeEngine(tmp_path / "m.onnx", Threads()).run(
        None, {"x": np.array(texts, object).reshape(-1, 1)}
    )
    assert labels.tolist() == model.predict(texts).tolist()
    assert np.allclose(scores, model.predict_proba(texts), atol=1e-5)


@pytest.mark.parametrize("locale", ["tr_TR.UTF-8", "az_AZ", "../en_US"])
def test_a_locale_with_letters_of_its_own_is_not_stood_in_for(tmp_path: Path, locale: str) -> None:
    with pytest.raises(ModelInvalid, match="locale"):
        of_one_node(tmp_path, "StringNormalizer", {"a": S}, kind=S, case_change_action="LOWER", locale=locale)


def test_without_anything_that_stands_in_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locales, "STAND_INS", ())
    with pytest.raises(ModelInvalid, match=r"locale-gen"):
        locales.provide("en_US.UTF-8")


def classifier(folder: Path, **options: Any) -> OnnxRuntimeEngine:
    from skl2onnx import convert_sklearn
    from skl2onnx.common.data_types import FloatTensorType
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression().fit([[0.0], [1.0]], [0, 1])
    made = convert_sklearn(model, initial_types=[("x", FloatTensorType([None, 1]))], target_opset=17, **options)
    (folder / "m.onnx").write_bytes(made.SerializeToString())
    return OnnxRuntimeEngine(folder / "m.onnx", Threads())


def test_outputs_that_no_tensor_carries_are_left_out(tmp_path: Path) -> None:
    """ZipMap is skl2onnx's default: `predict` of a scikit-learn classifier was refused."""
    engine = classifier(tmp_path)
    assert [spec.name for spec in engine.outputs] == ["output_label"]
    assert engine.run(None, {"x": np.array([[5.0]], np.float32)})[0].tolist() == [1]
    assert "'output_probability' (seq(map(int64,tensor(float))))" in engine.notes["outputs"]
    assert "'zipmap': False" in engine.notes["outputs"]
    codec = Codec("m", "1", Signature.of(engine), max_tensors=8, max_depth=8)
    tensor = {"name": "x", "datatype": "FP32", "shape": [1, 1], "data": [1]}
    wish = {"inputs": [tensor], "outputs": [{"name": "output_probability"}]}
    with pytest.raises(InvalidInput, match="zipmap"):
        codec.form(memoryview(json.dumps(wish).encode()), None)
    with pytest.raises(ModelInvalid, match="zipmap"):
        only(cast("Path", engine.origin), "output_probability")


def only(path: Path, output: str) -> OnnxRuntimeEngine:
    """The model with no other output than that."""
    model = onnx.load(path)
    kept = [value for value in model.graph.output if value.name == output]
    del model.graph.output[:]
    model.graph.output.extend(kept)
    onnx.save(model, path)
    return OnnxRuntimeEngine(path, Threads())


def test_an_initializer_that_inputs_may_override_is_an_optional_input(tmp_path: Path) -> None:
    """ONNX IR: an initializer that is in the graph's inputs too is a default."""
    inputs = [helper.make_tensor_value_info(name, F, ["n"]) for name in "xw"]
    graph = helper.make_graph(
        [helper.make_node("Mul", ["x", "w"], ["y"])],
        "g",
        inputs,
        [helper.make_tensor_value_info("y", F, ["n"])],
        initializer=[helper.make_tensor("w", F, [1], [2.0])],
    )
    path = tmp_path / "m.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    engine = OnnxRuntimeEngine(path, Threads())
    codec = Codec("m", "1", Signature.of(engine), max_tensors=8, max_depth=8)
    assert [tensor["name"] for tensor in json.loads(codec.metadata())["inputs"]] == ["x", "w"]

    def answer(**given: list[float]) -> tuple[int, list[float]]:
        named = [{"name": k, "datatype": "FP32", "shape": [len(v)], "data": v} for k, v in given.items()]
        body = memoryview(json.dumps({"inputs": named}).encode())
        form = codec.form(body, None)
        found: list[float] = engine.run(None, feeds(form, body, None))[0].tolist()
        return form.rows, found

    assert answer(x=[1.0, 2.0]) == (2, [2.0, 4.0])
    assert answer(x=[1.0], w=[3.0]) == (0, [3.0])  # It has no rows by which it could be joined with others.
