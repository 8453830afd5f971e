"""The table of conditions: nothing is said that isn't in it, nothing is in it that isn't said, and people find it."""

import ast
from collections import defaultdict
from pathlib import Path

import pytest

from corefit_core.api import crd
from corefit_core.errors import InvalidInput
from corefit_operator.gateway.routed import ADVICE
from corefit_operator.status.conditions import table
from corefit_operator.status.conditions.condition_type import ConditionType
from corefit_operator.workload.target_conditions import OFFERS

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "operator/src/corefit_operator"


def _said() -> dict[str, set[str]]:
    """The reasons that stand in the code, by type of condition; one that is computed is a problem's or a decision's."""
    reasons: defaultdict[str, set[str]] = defaultdict(set)
    for path in [*SOURCE.glob("status/**/*.py"), *SOURCE.glob("workload/*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "ConditionValue":
                kind, _, reason, _ = node.args
                if isinstance(kind, ast.Constant):
                    reasons[kind.value] |= {reason.value} if isinstance(reason, ast.Constant) else set()
    reasons["Injectable"] |= set(OFFERS)
    for node in ast.walk(ast.parse((SOURCE / "balancer/balancing.py").read_text())):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "Balancing":
            given = [keyword.value for keyword in node.keywords if keyword.arg == "reason"]
            reasons["BalancerReady"] |= {value.value for value in given if isinstance(value, ast.Constant)}
    for node in ast.walk(ast.parse((SOURCE / "gateway/routed.py").read_text())):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "Routed":
            given = [keyword.value for keyword in node.keywords if keyword.arg == "reason"]
            reasons["RouteReady"] |= {value.value for value in given if isinstance(value, ast.Constant)}
    reasons["RouteReady"] |= set(ADVICE)
    return reasons


def test_no_other_condition_is_said_than_those_of_the_table() -> None:
    assert set(_said()) == {row.type for row in table.CONDITIONS}


@pytest.mark.parametrize("row", table.CONDITIONS, ids=lambda row: row.type)
def test_each_reason_that_is_said_is_in_the_table_and_the_other_way_round(row: ConditionType) -> None:
    assert _said()[row.type] == set(row.reasons)
    assert all(row.reasons.values()), "each says when"


def test_people_find_each_reason_in_the_page() -> None:
    """`NoPods`, `NoRequests`, `InProgress` and others stood in no page."""
    rows = [f"| {row.type} | `{reason}` | {when} |" for row in table.CONDITIONS for reason, when in row.reasons.items()]
    page = (ROOT / "docs/operations.md").read_text()
    assert "\n".join(rows) in page, "\n".join(rows)


def test_people_find_each_column_in_the_page() -> None:
    """OBJECTIVE, which `kubectl get cfis` shows, stood in no page."""
    described = (
        (ROOT / "docs/operations.md").read_text().partition("| Column | Says |\n|---|---|\n")[2].partition("\n\n")[0]
    )
    names = [name.strip() for line in described.splitlines() for name in line.split("|")[1].split(",")]
    columns = crd.manifest()["spec"]["versions"][0]["additionalPrinterColumns"]
    assert {column["name"].upper() for column in columns} == set(names)


def test_a_spec_that_cannot_be_read_is_said_by_the_conditions_that_follow_from_it() -> None:
    values = table.unreadable(InvalidInput("spec.x: wrong"))
    assert [value.type for value in values] == ["Ready", "Progressing", "Sized", "ScalingActive"]
    assert table.state(values) == "InvalidSpec"


def test_mode_sidecar_is_known_in_one_package() -> None:
    """It was asked for in ten files, and each further kind of workload would have been asked for in as many."""
    asking = {
        path.relative_to(SOURCE).parts[0]
        for path in SOURCE.rglob("*.py")
        if "spec.injected" in path.read_text() or '"Sidecar"' in path.read_text()
    }
    assert asking == {"workload"}
