"""The benches' models: they run, give one row an answer, keep rows apart, and come out the same each time."""

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import onnx
import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def models() -> Iterator[dict[str, ModuleType]]:
    """bench/ is no installed package: its modules are found from the root for the time of these tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT))
        yield {name: importlib.import_module(f"bench.models.{name}") for name in ("cost", "generate", "nets")}
        for name in [n for n in sys.modules if n == "bench" or n.startswith("bench.")]:
            patch.delitem(sys.modules, name)


def test_the_root_on_the_path_does_not_hide_the_standard_library(models: dict[str, ModuleType]) -> None:
    operator = importlib.import_module("operator")
    assert "corefit" not in str(operator.__file__)
    assert operator.add(1, 2) == 3


@pytest.mark.parametrize("name", ["tiny", "mlp", "mobilenet", "resnet18"])
def test_a_model_answers_rows_independently(models: dict[str, ModuleType], name: str) -> None:
    cost = models["cost"]
    runner = cost.session(models["generate"].FIXED[name]().SerializeToString())
    inputs = cost.feeds(runner, rows=3)
    (whole,) = runner.run(None, inputs)
    parts = [runner.run(None, {k: v[i : i + 1] for k, v in inputs.items()})[0] for i in range(3)]
    assert whole.shape[0] == 3
    assert np.isfinite(whole).all()
    np.testing.assert_allclose(whole, np.concatenate(parts), rtol=1e-3, atol=1e-6)


def test_the_image_models_take_600_kb(models: dict[str, ModuleType]) -> None:
    runner = models["cost"].session(models["nets"].stack(blocks=1, channels=8).SerializeToString())
    (image,) = models["cost"].feeds(runner).values()
    assert image.nbytes == 602_112


def test_a_name_gives_the_same_file_each_time(models: dict[str, ModuleType], tmp_path: Path) -> None:
    generate = models["generate"]
    first = generate.ensure("tiny", tmp_path / "a").read_bytes()
    assert generate.ensure("tiny", tmp_path / "b").read_bytes() == first


def test_a_cached_model_is_not_made_again(models: dict[str, ModuleType], tmp_path: Path) -> None:
    path = models["generate"].ensure("tiny", tmp_path)
    path.write_bytes(b"kept")
    assert models["generate"].ensure("tiny", tmp_path).read_bytes() == b"kept"
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_the_cost_is_searched_along_the_blocks(models: dict[str, ModuleType]) -> None:
    made: list[int] = []

    def build(n: int) -> onnx.ModelProto:
        made.append(n)
        return onnx.ModelProto(model_version=n)

    # 1 ms and 0.1 ms a block, and a tenth more beyond 40 blocks, as a cache that overflows would cost
    def measure(model: onnx.ModelProto) -> float:
        n = model.model_version
        return 0.001 + 0.0001 * n * (1.1 if n > 40 else 1.0)

    model, seconds = models["cost"].of_cost(build, 0.006, measure)
    assert seconds == pytest.approx(0.006, rel=0.05)
    assert model.model_version == made[-1]


def test_a_cost_that_is_never_met_is_said(models: dict[str, ModuleType]) -> None:
    with pytest.raises(RuntimeError, match=r"no model of 5 ms: the nearest took 1000\.00 ms"):
        models["cost"].of_cost(lambda n: onnx.ModelProto(model_version=n), 0.005, lambda _: 1.0)


def test_an_unknown_name_is_refused(models: dict[str, ModuleType], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        models["generate"].main(["nonesuch"])
    assert "no model named nonesuch; there are tiny, mlp" in capsys.readouterr().err


def test_the_command_prints_path_and_cost(
    models: dict[str, ModuleType], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert models["generate"].main(["tiny", "--into", str(tmp_path)]) == 0
    name, _, unit, path = capsys.readouterr().out.split()
    assert (name, unit, Path(path).exists()) == ("tiny", "ms", True)
