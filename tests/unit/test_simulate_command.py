"""`corefit simulate`: what it writes, and what it refuses before it begins."""

import json
from pathlib import Path

import pytest

from corefit.main import main
from corefit.simulate import traces


def test_the_command_writes_a_table_json_and_a_picture(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "t.txt").write_text("20\n" * 120)
    out, picture = tmp_path / "out.json", tmp_path / "out.png"
    arguments = ["simulate", str(tmp_path / "t.txt"), "--policy", "corefit", "--policy", "kpa:70"]
    assert main([*arguments, "--json", str(out), "--plot", str(picture)]) == 0
    written = json.loads(out.read_text())
    assert set(written["policies"]) == {"corefit", "kpa:70"}
    for outcome in written["policies"].values():
        assert {"core_hours", "attainment", "shed", "scale_changes", "p50_s", "p99_s", "replicas"} <= set(outcome)
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert "kpa:70" in capsys.readouterr().out


@pytest.mark.parametrize(
    "wrong",
    [
        ["--service-ms", "0"],
        ["--percentile", "100"],
        ["--reports-silent", "2"],
        ["--policy", "x"],
        ["--scale", "nan"],
        ["--cpu-range", "4:1"],
        ["--seed", "-1"],
        ["--down-window-s", "nan"],
        ["--startup-s", "inf"],
    ],
)
def test_a_wrong_option_is_explained(tmp_path: Path, capsys: pytest.CaptureFixture[str], wrong: list[str]) -> None:
    (tmp_path / "t.txt").write_text("2\n" * 10)
    assert main(["simulate", str(tmp_path / "t.txt"), *wrong]) == 2
    assert capsys.readouterr().err.startswith("corefit: ")


def test_corefits_window_can_be_chosen(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "t.txt").write_text("2\n" * 10)
    for options, seconds in ([], None), (["--down-window-s", "300"], 300.0):
        assert main(["simulate", str(tmp_path / "t.txt"), "--json", "-", *options]) == 0
        assert json.loads(capsys.readouterr().out)["setting"]["policy"]["down_window_s"] == seconds


@pytest.mark.parametrize("option", ["--json", "--plot"])
def test_what_can_not_be_written_is_said_before_the_work(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, option: str
) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("the trace was read before")

    monkeypatch.setattr(traces, "read", refuse)
    taken, here = tmp_path / "folder.png", tmp_path / "here.png"
    taken.mkdir()
    for path, says in ((tmp_path / "none" / "out.png", "no folder"), (taken, "is a folder")):
        assert main(["simulate", str(tmp_path / "t.txt"), option, str(path)]) == 2
        assert f"{option} {path}; " in (said := capsys.readouterr().err)
        assert says in said
    monkeypatch.setattr("os.access", lambda *_: False)
    assert main(["simulate", str(tmp_path / "t.txt"), option, str(here)]) == 2
    assert "may not be written" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("option", "value"),
    [("--workers", "257"), ("--max-replicas", "100001"), ("--service-ms", "1e9"), ("--objective-ms", "1e9")],
)
def test_what_no_cluster_has_is_refused_before_memory_is_taken_for_it(
    option: str, value: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["simulate", str(tmp_path / "t.txt"), option, value]) == 2
    said = capsys.readouterr().err
    assert option in said
    assert "at most" in said


def test_a_picture_of_no_known_format_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["simulate", str(tmp_path / "t.txt"), "--plot", str(tmp_path / "out.bmpx")]) == 2
    assert "its ending must be one of" in capsys.readouterr().err


def test_a_trace_without_requests_is_no_success(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "t.txt").write_text("0\n" * 10)
    assert main(["simulate", str(tmp_path / "t.txt")]) == 2
    assert "no requests" in capsys.readouterr().err
