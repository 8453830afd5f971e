"""The autoscaling bench: a part of the grid is a balanced sample, what was done is kept, bars say by how much."""

import importlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).parents[2] / "bench" / "autoscale"
NAMES = ("cells", "store", "rivals", "bars")


@pytest.fixture
def modules() -> Iterator[dict[str, Any]]:
    """bench/ is no installed package: its modules are found for the time of these tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(FOLDER))
        found = {name: importlib.import_module(name) for name in NAMES}
        yield found
        for name in NAMES:
            patch.delitem(sys.modules, name)


def test_nine_cells_hold_every_pair_of_values_once(modules: dict[str, Any]) -> None:
    cells = modules["cells"].cells()
    assert len(set(cells)) == 27
    assert cells[0] == modules["cells"].REPRESENTATIVE
    assert all(len({cell[i] for cell in cells[:3]}) == 3 for i in range(3))
    for one, other in ((0, 1), (0, 2), (1, 2)):
        assert len({(cell[one], cell[other]) for cell in cells[:9]}) == 9


def test_what_was_done_is_kept_and_replaced_by_policy(tmp_path: Path, modules: dict[str, Any]) -> None:
    store, path = modules["store"], tmp_path / "cases.jsonl"
    first, second = store.Row(1.0, 0.99, 0.0, 3), store.Row(2.0, 0.98, 0.0, 4)
    store.append(store.Case("cell", "trace", {"corefit": first, "static": first}), path)
    store.append(store.Case("cell", "trace", {"corefit": second}), path)
    store.compact(path)
    assert len(path.read_bytes().splitlines()) == 1
    assert store.load(path)["trace cell"].rows == {"corefit": second, "static": first}


def test_the_naive_share_is_the_measured_one_where_there_is_one(tmp_path: Path, modules: dict[str, Any]) -> None:
    rivals, path = modules["rivals"], tmp_path / "results.json"
    assert rivals.naive_share(path).value == rivals.NAIVE_THROUGHPUT
    finding = {"experiment": rivals.EXPERIMENT, "name": rivals.FINDING, "value": 4.0}
    path.write_text(json.dumps([{"conditions": {"load_average": [0.5, 1, 1]}, "findings": [finding]}]))
    assert rivals.naive_share(path).value == 0.25


def test_a_missed_bar_says_by_how_much(modules: dict[str, Any]) -> None:
    row, bars = modules["store"].Row, modules["bars"]
    rows = {
        "corefit": row(10.0, 0.985, 0.0, 3),
        "clairvoyant": row(9.0, 0.99, 0.0, 9),
        "hpa:70": row(9.5, 0.986, 0.0, 5),
    }
    case = modules["store"].Case("cell", "noisy", rows)
    assert bars.attainment(case, ()) == "98.50 %"
    assert bars.cost(case, ()) == "1.111"
    assert bars.frontier(case, ["hpa:70"]) == "98.50 %, but hpa:70 98.60 % at 0.950 of the cost"
