"""Whether rows know of each other: found on real sessions, for every kind of input."""

import warnings
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from onnx import TensorProto, helper
from unit.sessions import F, I, engine

from corefit_core.errors import InvalidInput
from corefit_runtime.calibration import synthetic_inputs
from corefit_runtime.calibration.row_independence import row_independence
from corefit_runtime.calibration.synthetic_inputs import uneven
from corefit_runtime.tensors.tensor_spec import TensorSpec

INDEPENDENT = (True, "whole and row by row, a batch gave the same answers")
KINDS = [
    *(TensorProto.UINT8, TensorProto.INT8, TensorProto.UINT16, TensorProto.INT16),
    *(TensorProto.UINT32, TensorProto.INT32, TensorProto.UINT64, TensorProto.INT64, TensorProto.STRING),
]
QUANTISED = [
    helper.make_node("DynamicQuantizeLinear", ["f"], ["q", "scale", "zero"]),
    helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["y"]),
]


def casts(kind: int = F, to: str = "f") -> Any:
    return helper.make_node("Cast", ["x"], [to], to=kind)


def test_independent_rows_are_found(tmp_path: Path) -> None:
    weights = np.ones((4, 4), np.float32)
    made = engine(tmp_path, [helper.make_node("MatMul", ["x", "w"], ["y"])], w=weights)
    assert row_independence(made, 16) == INDEPENDENT


def test_dynamic_quantisation_couples_rows(tmp_path: Path) -> None:
    independent, why = row_independence(engine(tmp_path, [casts(), *QUANTISED]), 16)
    assert not independent
    assert "changes by" in why


def test_a_fixed_leading_dimension_is_told(tmp_path: Path) -> None:
    made = engine(tmp_path, [helper.make_node("Neg", ["x"], ["y"])], x=(2, 4), y=(2, 4))
    assert row_independence(made, 16) == (False, "x has no free leading dimension")


def test_an_output_that_is_not_by_rows_is_told(tmp_path: Path) -> None:
    made = engine(tmp_path, [helper.make_node("ReduceSum", ["x"], ["y"], keepdims=0)], y=("m",))
    independent, why = row_independence(made, 16)
    assert not independent
    assert "y" in why


@pytest.mark.parametrize("width", [1, 2, 16])
@pytest.mark.parametrize("kind", KINDS)
def test_dynamic_quantisation_couples_rows_of_numbers_too(tmp_path: Path, kind: int, width: int) -> None:
    made = engine(tmp_path, [casts(), *QUANTISED], x=("n", width), y=("n", width), kind=kind)
    independent, why = row_independence(made, 16)
    assert not independent
    assert "changes by" in why


def test_dynamic_quantisation_in_a_product_of_integers(tmp_path: Path) -> None:
    """As quantisers of transformers and of tables write it: bytes in, and the scale of the batch in between."""
    weights = np.random.default_rng(1).integers(-100, 100, (16, 4)).astype(np.int8)
    nodes = [
        casts(),
        QUANTISED[0],
        helper.make_node("MatMulInteger", ["q", "w", "zero"], ["p"]),
        helper.make_node("Cast", ["p"], ["c"], to=F),
        helper.make_node("Mul", ["c", "scale"], ["y"]),
    ]
    for kind in (TensorProto.UINT8, TensorProto.INT64):
        made = engine(tmp_path, nodes, x=("n", 16), kind=kind, w=weights)
        assert not row_independence(made, 16)[0]


@pytest.mark.parametrize("kind", [*KINDS, TensorProto.BOOL, TensorProto.DOUBLE, TensorProto.FLOAT16])
def test_independent_rows_of_every_kind_are_found(tmp_path: Path, kind: int) -> None:
    made = engine(tmp_path, [casts(to="y")], kind=kind)
    assert row_independence(made, 16) == INDEPENDENT


def test_a_table_refuses_large_indices_and_is_looked_up_by_small_ones(tmp_path: Path) -> None:
    table = np.arange(8, dtype=np.float32).reshape(2, 4)
    look_up = helper.make_node("Gather", ["t", "x"], ["f"])
    plain = engine(tmp_path, [look_up, helper.make_node("Neg", ["f"], ["y"])], x=("n",), kind=I, t=table)
    assert row_independence(plain, 16) == INDEPENDENT
    coupled = engine(
        tmp_path,
        [look_up, helper.make_node("CumSum", ["f", "axis"], ["y"])],
        x=("n",),
        kind=I,
        t=table,
        axis=np.array(0, np.int64),
    )
    assert not row_independence(coupled, 16)[0]


class Running:
    """An engine of which each row is the largest so far, and that knows indices up to a number."""

    inputs = (TensorSpec(name="x", datatype="INT64", shape=(-1,)),)
    outputs = (TensorSpec(name="y", datatype="INT64", shape=(-1,)),)

    def __init__(self, most: int) -> None:
        self.most = most

    def run(self, _names: Any, feeds: Any) -> Any:
        if feeds["x"].max() > self.most:
            raise InvalidInput("index out of range")
        return [np.maximum.accumulate(feeds["x"])]


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("most", [1, 1000])
def test_rows_that_take_from_those_before_are_found_in_any_order(
    monkeypatch: pytest.MonkeyPatch, most: int, seed: int
) -> None:
    """Rows that happen to go up, which four of 0 and 1 often do, hide it; backwards they don't."""
    monkeypatch.setattr(synthetic_inputs, "SEED", seed)
    batch = uneven(Running.inputs, 16, numbers=most > 1)["x"]
    independent, _ = row_independence(cast("Any", Running(most)), 16)
    assert independent == (len(set(batch)) == 1)


@pytest.mark.parametrize("y", [("n", "m"), ("n", None)])
def test_a_row_whose_size_depends_on_the_batch_is_told(tmp_path: Path, y: Any) -> None:
    """x times its own transpose: a row for each row, as long as the batch. It ended the process at its start."""
    nodes = [
        helper.make_node("Transpose", ["x"], ["t"], perm=[1, 0]),
        helper.make_node("MatMul", ["x", "t"], ["y"]),
    ]
    independent, why = row_independence(engine(tmp_path, nodes, y=y), 16)
    assert not independent
    assert why == "the shape of a row of y depends on the rows beside it"


def test_infinities_and_nans_are_compared_in_silence(tmp_path: Path) -> None:
    nodes = [helper.make_node("Exp", ["x"], ["e"]), helper.make_node("Div", ["e", "e"], ["y"])]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert row_independence(engine(tmp_path, nodes), 16) == INDEPENDENT


@pytest.mark.parametrize("datatype", ["UINT8", "INT8", "UINT64", "INT32", "BYTES"])
def test_rows_of_numbers_differ_in_size_as_far_as_their_type_goes(datatype: str) -> None:
    [values] = uneven([TensorSpec(name="x", datatype=datatype, shape=(-1, 3))], 16, numbers=True).values()
    most = values.astype(np.int64).max(axis=1)
    assert list(most) == [64, 4, {"UINT8": 251, "INT8": 123}.get(datatype, 256), 16]
