"""`corefit plan`: what it prints, and what it refuses."""

import json

import pytest

from corefit.main import main


def test_plan_prints_the_sizing(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "--cpu", "2", "--objective-ms", "150"]) == 0
    assert "A CPU limit of 2 is 2 cores." in capsys.readouterr().out
    assert main(["plan", "--cpu", "2", "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert set(printed) == {"workers", "threads_per_worker", "queue_depth", "why"}
    assert printed["workers"] == 2


@pytest.mark.parametrize(
    ("option", "value"),
    [
        *(("--cpu", value) for value in ("0", "50m", "-1", "two", "1e30")),
        *(("--cpus", value) for value in ("0", "-1")),
        *(("--percentile", value) for value in ("0", "100", "150", "nan")),
        *(("--objective-ms", value) for value in ("0", "-5", "nan", "inf")),
    ],
)
def test_a_wrong_value_is_refused_by_its_option(capsys: pytest.CaptureFixture[str], option: str, value: str) -> None:
    assert main(["plan", "--cpu=2", f"{option}={value}"]) == 2
    said = capsys.readouterr()
    assert said.err.startswith(f"corefit: {option}")
    assert not said.out


def test_fewer_cpus_than_the_limit_count(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "--cpu", "4", "--cpus", "3", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["workers"] == 3
