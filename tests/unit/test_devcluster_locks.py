"""The lock of a cluster: one at a time, also when its file is removed by the one that holds it."""

import threading
from pathlib import Path

from corefit_devcluster.locks import locked


def test_who_waits_for_a_lock_that_is_removed_takes_the_new_one(tmp_path: Path) -> None:
    """`corefit-devcluster down` left `.NAME.lock`."""
    path, order = tmp_path / ".a.lock", list[str]()
    entered, waits = threading.Event(), threading.Event()

    def second() -> None:
        waits.set()
        with locked(path):
            order.append("second")
            assert path.exists()
            entered.set()

    thread = threading.Thread(target=second)
    with locked(path):
        thread.start()
        waits.wait(60)
        order.append("first")
        path.unlink()
    assert entered.wait(60)
    thread.join(60)
    assert order == ["first", "second"]
