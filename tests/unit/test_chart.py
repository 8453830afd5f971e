"""The chart's texts that no API server checks: alerts, dashboard and runbooks speak of what there is."""

import json
import re
from pathlib import Path

import numpy as np
import onnxruntime
import promql_parser
import pytest
import yaml

from corefit_operator.telemetry.metrics import Metrics

ROOT = Path(__file__).parents[2]
CHART = ROOT / "charts/corefit"
ALERTS: dict[str, dict[str, str]] = yaml.safe_load((CHART / "alerts.yaml").read_text())


def _dashboard_expressions() -> list[str]:
    panels = json.loads((CHART / "dashboards/corefit.json").read_text())["panels"]
    return [target["expr"] for panel in panels for target in panel["targets"]]


def _known_series() -> set[str]:
    known = set()
    for family in Metrics().registry.collect():
        suffixes = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count")}.get(family.type, ("",))
        known |= {family.name + suffix for suffix in suffixes}
    return known


@pytest.mark.parametrize("expression", [*(a["expr"] for a in ALERTS.values()), *_dashboard_expressions()])
def test_every_expression_is_promql_and_every_series_in_it_exists(expression: str) -> None:
    promql_parser.parse(expression)
    asked = set(re.findall(r"corefit_[a-z_]+", expression))
    assert asked
    assert asked <= _known_series()


def test_the_page_of_the_operator_names_every_metric_and_no_other() -> None:
    page = (ROOT / "docs/operations.md").read_text()
    table = page.partition("\n## Metrics\n")[2].partition("\n## ")[0]
    said = set(re.findall(r"`(corefit_[a-z_]+)", table))
    told = {name.removesuffix("_bucket") for name in _known_series() if not name.endswith(("_sum", "_count"))}
    assert said == told


@pytest.mark.parametrize("alert", ALERTS)
def test_every_alert_has_a_runbook_and_says_all_that_people_need(alert: str) -> None:
    assert set(ALERTS[alert]) == {"expr", "for", "severity", "summary"}
    assert (ROOT / f"docs/runbooks/{alert}.md").read_text().startswith(f"# {alert}\n")


def test_every_runbook_belongs_to_an_alert() -> None:
    assert {page.stem for page in (ROOT / "docs/runbooks").glob("*.md")} == set(ALERTS)


def test_the_model_of_helm_test_doubles() -> None:
    session = onnxruntime.InferenceSession(str(CHART / "files/double.onnx"), providers=["CPUExecutionProvider"])
    (doubled,) = session.run(None, {"x": np.array([[21.0]], dtype=np.float32)})
    assert doubled.tolist() == [[42.0]]
