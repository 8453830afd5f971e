"""`corefit plan`: what it prints, and what it refuses."""

import json

import pytest

from corefit.main import main


def test_plan_prints_the_sizing(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "--cpu", "2", "--objective-ms", "150"]) == 0
    assert "2 whole cores" in capsys.readouterr().out
    assert main(["plan", "--cpu", "2", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["workers"] == 2
