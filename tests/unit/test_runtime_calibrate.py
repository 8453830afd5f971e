"""Calibration on real onnxruntime sessions: what runs, what it costs, what couples its rows."""

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import helper
from unit.sessions import I, engine

from corefit_runtime.calibration import calibrate, profiles, synthetic_inputs
from corefit_runtime.calibration.synthetic_inputs import made_up
from corefit_runtime.engine.onnxruntime import OnnxRuntimeEngine


def test_free_dimensions_are_guessed_until_the_model_runs(tmp_path: Path) -> None:
    weights = np.ones((32, 4), np.float32)
    made = engine(tmp_path, [helper.make_node("MatMul", ["x", "w"], ["y"])], x=("n", "width"), w=weights)
    found = calibrate.warm_up(made)
    assert found.free_size == 32
    assert found.line is not None


def test_what_is_guessed_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Four free dimensions at 224 are 10 GB: the pod was killed for it."""
    weights = np.ones((77, 4), np.float32)
    free = ("n", "a", "b", "c", "width")
    made = engine(
        tmp_path, [helper.make_node("MatMul", ["x", "w"], ["y"])], x=free, y=("n", "a", "b", "c", 4), w=weights
    )
    sizes: list[int] = []
    monkeypatch.setattr(synthetic_inputs, "made_up", lambda *given: sizes.append(given[2]) or made_up(*given))
    assert calibrate.warm_up(made).line is None
    assert sizes == [16, 1, 32]


def test_what_the_model_itself_asks_for_is_tried_whatever_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calibrate, "MOST_ELEMENTS", 100)
    made = engine(tmp_path, [helper.make_node("Neg", ["x"], ["y"])], x=("n", 200), y=("n", 200))
    found = calibrate.calibrate(made, calibrate.warm_up(made), 1, 5.0)
    assert {point.rows for point in found.profile} == {1}


def test_a_batch_whose_rows_are_as_long_as_it_is_calibrated_row_by_row(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Transpose", ["x"], ["t"], perm=[1, 0]),
        helper.make_node("MatMul", ["x", "t"], ["y"]),
    ]
    made = engine(tmp_path, nodes, y=("n", "n"))
    found = calibrate.calibrate(made, calibrate.warm_up(made), 1, 5.0)
    assert not found.rows_independent
    assert {point.rows for point in found.profile} == {1}


def test_indices_are_small_enough_to_look_up(tmp_path: Path) -> None:
    table = np.ones((2, 4), np.float32)
    made = engine(tmp_path, [helper.make_node("Gather", ["t", "x"], ["y"])], x=("n",), kind=I, t=table)
    assert calibrate.warm_up(made).line is not None


def test_a_model_that_no_guess_fits_is_told_and_not_calibrated(tmp_path: Path) -> None:
    weights = np.ones((77, 4), np.float32)
    made = engine(tmp_path, [helper.make_node("MatMul", ["x", "w"], ["y"])], x=("n", "width"), w=weights)
    found = calibrate.warm_up(made)
    assert found.line is None
    assert "no made-up input fits" in found.why
    assert calibrate.calibrate(made, found, 4, 1.0) == found


def test_a_calibration_covers_rows_and_threads_and_is_kept(tmp_path: Path) -> None:
    weights = np.ones((4, 4), np.float32)
    made = engine(tmp_path, [helper.make_node("MatMul", ["x", "w"], ["y"])], w=weights)
    found = calibrate.calibrate(made, calibrate.warm_up(made), 2, 5.0)
    assert {p.rows for p in found.profile if p.threads == 1} >= {1}
    assert all(p.seconds > 0 for p in found.profile)
    profiles.save(tmp_path / "kept", "abc", 2, found)
    assert profiles.load(tmp_path / "kept", "abc", 2) == found
    assert profiles.load(tmp_path / "kept", "abc", 3) is None
    assert profiles.load(tmp_path / "kept", "abd", 2) is None


class _Slow:
    """An engine whose rows cost CPU time, on a thread that is stopped for three times as long after each run."""

    def __init__(self, real: OnnxRuntimeEngine, row_s: float, run_s: float = 0.0) -> None:
        self.inputs, self.outputs, self.threads = real.inputs, real.outputs, real.threads
        self._real, self._row_s, self._run_s = real, row_s, run_s
        self.rows: list[int] = []

    def with_threads(self, threads: Any) -> Any:
        raise AssertionError(f"there is one core, and {threads} were tried")

    def trial(self, feeds: Any, _limit_s: float) -> None:
        self._real.run(None, feeds)

    def run(self, names: Any, feeds: Any) -> Any:
        rows = len(feeds["x"])
        self.rows.append(rows)
        until = time.thread_time() + self._run_s + rows * self._row_s
        while time.thread_time() < until:
            pass
        time.sleep(3 * (self._run_s + rows * self._row_s))
        return self._real.run(names, feeds)


def _slow(folder: Path, row_s: float, run_s: float = 0.0) -> Any:
    weights = np.ones((4, 4), np.float32)
    return _Slow(engine(folder, [helper.make_node("MatMul", ["x", "w"], ["y"])], w=weights), row_s, run_s)


def test_a_thread_that_its_quota_stops_is_measured_by_what_it_computed(tmp_path: Path) -> None:
    made = _slow(tmp_path, 0.004)
    found = calibrate.calibrate(made, calibrate.warm_up(made), 1, 3600.0)
    assert {p.rows: p.seconds for p in found.profile} == {
        1: pytest.approx(0.004, rel=0.3),
        4: pytest.approx(0.016, rel=0.3),
        16: pytest.approx(0.064, rel=0.3),
    }


def test_rows_that_would_never_be_run_at_once_are_not_measured(tmp_path: Path) -> None:
    made = _slow(tmp_path, 0.008)
    calibrate.calibrate(made, calibrate.warm_up(made), 1, 3600.0)
    assert max(made.rows) == 4
    dear = _slow(tmp_path, 0.0001, run_s=0.03)
    calibrate.calibrate(dear, calibrate.warm_up(dear), 1, 3600.0)
    assert max(dear.rows) == 64, "it is not the rows that make it long"


def test_runs_that_agree_are_not_repeated(tmp_path: Path) -> None:
    assert calibrate._agree([3.0, 1.0, 1.04])
    assert not calibrate._agree([3.0, 1.0, 1.06])
    assert not calibrate._agree([1.0, 1.0])


def test_a_profile_is_of_one_kind_of_cpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    profiles.save(tmp_path, "abc", 2, calibrate.Findings(why="measured"))
    assert profiles.load(tmp_path, "abc", 2) is not None
    monkeypatch.setattr(profiles, "cpu_model", lambda: "another")
    assert profiles.load(tmp_path, "abc", 2) is None


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("processor\t: 0\nmodel name\t: AMD EPYC 9V74\n", "AMD EPYC 9V74"),
        ("processor\t: 0\nCPU implementer\t: 0x41\nCPU part\t: 0xd40\n", "0x41 0xd40"),
    ],
)
def test_the_kind_of_cpu_is_told_on_x86_and_on_arm(tmp_path: Path, text: str, name: str) -> None:
    (tmp_path / "cpuinfo").write_text(text)
    assert profiles.cpu_model(tmp_path / "cpuinfo") == name


@pytest.mark.parametrize("content", [b"", b"{}x", b"[]", b'{"why": "\xff"}'])
def test_a_broken_profile_is_as_none(tmp_path: Path, content: bytes) -> None:
    profiles._path(tmp_path, "abc", 1).write_bytes(content)
    assert profiles.load(tmp_path, "abc", 1) is None
