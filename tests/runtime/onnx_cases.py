"""ONNX's own backend test models as requests, and what onnxruntime itself answers to them."""

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from onnx import numpy_helper

Feeds = dict[str, Any]
KINDS = ("node", "simple", "pytorch-converted", "pytorch-operator")
RANDOM = {
    "RandomNormal",
    "RandomNormalLike",
    "RandomUniform",
    "RandomUniformLike",
    "Bernoulli",
    "Multinomial",
    "Dropout",
}


@dataclass
class Case:
    """One model, and inputs for it; None for an input that is no tensor."""

    name: str
    model: onnx.ModelProto
    feeds: list[Feeds | None]

    @property
    def random(self) -> bool:
        """Whether it answers otherwise each time."""
        return any(node.op_type in RANDOM for node in _nodes(self.model.graph)) or bool(self.model.functions)


def _nodes(graph: Any) -> Iterator[Any]:
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from _nodes(attribute.g)


def cases() -> list[Case]:
    """All that need no download, in the order of their names."""
    found: dict[str, Case] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Of numpy, about infinities that the cases are about.
        from onnx.backend.test.loader import load_model_tests

        for kind in KINDS:
            for test in load_model_tests(kind=kind):
                model = test.model or onnx.load(Path(test.model_dir) / "model.onnx")
                names = [each.name for each in model.graph.input]
                sets = (
                    [inputs for inputs, _ in test.data_sets] if test.data_sets else list(_stored(Path(test.model_dir)))
                )
                found[f"{kind}/{test.name}"] = Case(test.name, model, [_feeds(names, inputs) for inputs in sets])
    return [found[name] for name in sorted(found)]


def _stored(folder: Path) -> Iterator[list[Any]]:
    for each in sorted(folder.glob("test_data_set_*")):
        paths = sorted(each.glob("input_*.pb"), key=lambda path: int(path.stem.split("_")[1]))
        tensors = [onnx.TensorProto.FromString(path.read_bytes()) for path in paths]
        yield [numpy_helper.to_array(tensor) for tensor in tensors]


def _feeds(names: list[str], inputs: list[Any]) -> Feeds | None:
    made: Feeds = {}
    for name, value in zip(names, inputs, strict=False):
        if value is None or isinstance(value, list | dict):
            return None
        made[name] = np.asarray(value)
    return made


def freed(case: Case) -> Case | None:
    """The same model with any number of rows; None where its inputs share no leading dimension."""
    feeds = [each for each in case.feeds if each]
    sizes = {array.shape[:1] for each in feeds for array in each.values()}
    if len(sizes) != 1 or sizes & {(), (0,)}:
        return None
    model = onnx.ModelProto()
    model.CopyFrom(case.model)
    del model.graph.value_info[:]
    for index, value in enumerate((*model.graph.input, *model.graph.output)):
        shape = value.type.tensor_type.shape
        if not value.type.HasField("tensor_type") or (not shape.dim and index < len(model.graph.input)):
            return None
        for place, dim in enumerate(shape.dim):
            if index < len(model.graph.input) and place:
                continue
            dim.Clear()
            dim.dim_param = "rows" if index < len(model.graph.input) else f"out{index}_{place}"
    return Case(f"{case.name} (any number of rows)", model, case.feeds)


class Judge:
    """onnxruntime alone, with a session as anybody makes it."""

    def __init__(self, path: Path) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 4
        self._session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        self.types = {node.name: node.type for node in (*self._session.get_inputs(), *self._session.get_outputs())}

    def answer(self, feeds: Feeds) -> dict[str, Any] | None:
        """What it answers; None where it can't."""
        quiet = ort.RunOptions()
        quiet.log_severity_level = 4
        names = [node.name for node in self._session.get_outputs() if node.type.startswith("tensor(")]
        try:
            return dict(zip(names, self._session.run(names, feeds, quiet), strict=True))
        except Exception:  # noqa: BLE001 - whatever it says
            return None


def same(ours: Any, theirs: Any, tolerance: float) -> bool:
    """Whether two tensors are equal, with NaN equal to itself; floats within a tolerance of the largest."""
    if ours.shape != theirs.shape:
        return False
    if theirs.dtype.kind != "f":
        return bool(np.array_equal(ours.astype(theirs.dtype), theirs))
    a, b = ours.astype(np.float64), theirs.astype(np.float64)
    if np.array_equal(a, b, equal_nan=True):
        return True
    finite = np.isfinite(b)
    if not np.array_equal(np.where(finite, 0, a), np.where(finite, 0, b), equal_nan=True):
        return False
    gap = np.abs(np.where(finite, a - b, 0.0))
    return bool((gap <= tolerance * max(1e-12, np.abs(b[finite]).max(initial=0.0))).all())
