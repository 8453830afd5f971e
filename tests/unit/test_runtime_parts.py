"""Small parts of the runtime that others rest on, each by itself."""

import asyncio
import itertools
import logging
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corefit_core.errors import InvalidInput
from corefit_runtime.concurrency.backoff import delays
from corefit_runtime.http.patience import Patience
from corefit_runtime.memo import Memo
from corefit_runtime.telemetry.failures import warned
from corefit_runtime.telemetry.run_queue import RunQueueWait, read_run_queue_ns


def test_tries_are_ever_further_apart_up_to_half_a_minute() -> None:
    assert list(itertools.islice(delays(), 7)) == [1, 2, 4, 8, 16, 30, 30]


@given(st.integers(1, 8), st.lists(st.tuples(st.integers(0, 20), st.integers()), max_size=60))
def test_a_memo_holds_so_many_and_never_what_was_not_put_in(entries: int, puts: list[tuple[int, int]]) -> None:
    memo, said = Memo[int, int](entries), {}
    for key, value in puts:
        memo.put(key, value)
        said[key] = value
        assert memo.get(key) == value
        held = {known: memo.get(known) for known in said if memo.get(known) is not None}
        assert len(held) <= entries
        assert held.items() <= said.items()


def test_a_key_that_is_known_empties_no_full_memo() -> None:
    memo = Memo[str, int](2)
    memo.put("a", 1)
    memo.put("b", 2)
    memo.put("a", 3)
    assert (memo.get("a"), memo.get("b")) == (3, 2)
    memo.put("c", 4)
    assert (memo.get("a"), memo.get("b"), memo.get("c")) == (None, None, 4)


def test_what_the_error_tree_foresees_is_a_warning_and_anything_else_a_fault_with_its_traceback(
    caplog: pytest.LogCaptureFixture,
) -> None:
    log = logging.getLogger("test")
    foreseen = InvalidInput("no such input")
    assert warned(log, "no calibration", foreseen) == (foreseen.reason, "no such input")
    assert warned(log, "no calibration", ZeroDivisionError("x")) == ("InternalError", "ZeroDivisionError: x")
    first, second = caplog.records
    assert (first.levelname, first.getMessage(), first.exc_info) == (
        "WARNING",
        "no calibration: no such input",
        None,
    )
    assert (second.levelname, second.getMessage()) == ("ERROR", "no calibration: a fault in Corefit")
    assert second.exc_info


def _waited(tasks: Path, **nanoseconds: int) -> None:
    for task, waited in nanoseconds.items():
        (tasks / task).mkdir(exist_ok=True)
        (tasks / task / "schedstat").write_text(f"5 {waited} 7\n")


def test_waits_of_threads_add_up_and_stay_when_a_thread_ends(tmp_path: Path) -> None:
    wait = RunQueueWait(tmp_path)
    _waited(tmp_path, t1=1_000_000_000, t2=500_000_000)
    assert wait.total_s() == 1.5
    _waited(tmp_path, t1=2_000_000_000)
    (tmp_path / "t2/schedstat").unlink()
    assert wait.total_s() == 2.5
    assert wait.total_s() == 2.5


def test_a_thread_that_has_the_number_of_one_that_ended_takes_nothing_away(tmp_path: Path) -> None:
    wait = RunQueueWait(tmp_path)
    _waited(tmp_path, t1=3_000_000_000)
    assert wait.total_s() == 3.0
    _waited(tmp_path, t1=1_000_000_000)
    assert wait.total_s() == 3.0
    _waited(tmp_path, t1=2_000_000_000)
    assert wait.total_s() == 4.0


def test_a_kernel_that_counts_no_waits_is_read_as_none(tmp_path: Path) -> None:
    (tmp_path / "t1").mkdir()
    (tmp_path / "t1/schedstat").write_text("5\n")
    (tmp_path / "t2").mkdir()
    assert read_run_queue_ns(tmp_path) == read_run_queue_ns(tmp_path / "none") == {}


class _Loop(asyncio.SelectorEventLoop):
    """A loop whose clock is set by the test."""

    now = 0.0

    def time(self) -> float:
        return self.now

    def pass_to(self, now: float) -> None:
        """Runs all that is due until then."""
        for handle in sorted(self._scheduled, key=lambda each: each.when()):  # type: ignore[attr-defined]
            if handle.when() <= now and not handle.cancelled():
                self.now = handle.when()
                handle._run()
                self._scheduled.remove(handle)  # type: ignore[attr-defined]
        self.now = now


@pytest.fixture
def loop() -> _Loop:
    return _Loop()


def _patience(loop: _Loop) -> tuple[Patience, list[float]]:
    over: list[float] = []
    return Patience(loop, 10.0, lambda: over.append(loop.now)), over


def test_a_client_that_does_nothing_is_given_up_at_its_deadline(loop: _Loop) -> None:
    patience, over = _patience(loop)
    patience.expect(5.0)
    loop.pass_to(4.9)
    assert over == []
    loop.pass_to(5.1)
    assert over == [5.0]
    loop.close()


def test_a_later_deadline_takes_the_place_of_an_earlier_one_and_an_earlier_of_a_later(loop: _Loop) -> None:
    patience, over = _patience(loop)
    patience.expect(5.0)
    patience.expect(8.0)
    loop.pass_to(7.0)
    assert over == []
    loop.pass_to(8.0)
    assert over == [8.0]
    patience.expect(20.0)
    patience.expect(1.0)
    loop.pass_to(9.0)
    assert over == [8.0, 9.0]
    loop.close()


@pytest.mark.parametrize("way", ["our_turn", "end"])
def test_nobody_is_given_up_who_waits_for_us_or_is_gone(loop: _Loop, way: str) -> None:
    patience, over = _patience(loop)
    patience.expect(5.0)
    getattr(patience, way)()
    for now in (5.0, 15.0, 25.0, 100.0):
        loop.pass_to(now)
    assert over == []
    loop.close()
