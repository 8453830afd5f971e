"""What the demo shows before there is a cluster: the real runtime, real answers, a quota or why there is none."""

import io
import os
import sys
from pathlib import Path

import pytest
from rich.console import Console as RichConsole

from corefit.demo import alone, stage
from corefit.demo.background import Background
from corefit.demo.program import Demo
from corefit.demo.settings import Settings
from corefit.demo.tools import StepFailed, Tools
from corefit.demo.view import Console

ROOT = Path(__file__).parents[2]


@pytest.fixture
def seen() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def console(seen: io.StringIO) -> Console:
    return Console(RichConsole(file=seen, force_terminal=False, width=200))


def tools(folder: Path, script: str) -> Tools:
    """Programs of which `corefit-devcluster` is a shell script."""
    program = folder / "corefit-devcluster"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    return Tools(ROOT, {**os.environ, "PATH": f"{folder}:{Path(sys.executable).parent}:{os.environ['PATH']}"})


def test_without_a_cgroup_the_runtime_serves_and_the_lack_is_said(
    tmp_path: Path, console: Console, seen: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(alone, "LOAD_S", 0.2)
    with alone.served(ROOT, tools(tmp_path, "echo 'needs root' >&2; exit 1"), console):
        pass
    said = seen.getvalue()
    assert "nothing holds the runtime to a quota" in said
    assert "100 of 100 answers are the model's own" in said
    assert "predictions a second" in said


@pytest.mark.skipif(os.geteuid() != 0 or sys.platform != "linux", reason="a cgroup needs Linux and root")
def test_a_quota_is_changed_while_it_serves_and_nothing_stays(
    console: Console, seen: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(alone, "CGROUP", f"t{os.getpid()}")
    real = Tools(ROOT, {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"})
    with alone.served(ROOT, real, console):
        pass
    said = seen.getvalue()
    assert "quota 100m: 1 worker of 1 thread" in said
    assert "quota 250m: 1 worker of 1 thread" in said
    left = [folder for folder, _, _ in os.walk("/sys/fs/cgroup") if f"corefit-quota-t{os.getpid()}" in folder]
    assert left == []


def test_what_a_program_in_the_background_says_is_seen_and_its_failure_is_ours(
    tmp_path: Path, console: Console, seen: io.StringIO
) -> None:
    with Background(tools(tmp_path, "echo half >&2"), console, "corefit-devcluster", "build") as building:
        building.wait()
    assert "| half" in seen.getvalue()
    failing = tools(tmp_path, "echo 'no network' >&2; exit 3")
    with (
        Background(failing, console, "corefit-devcluster", "build") as building,
        pytest.raises(StepFailed, match=r"(?s)corefit-devcluster build ended with status 3: no network"),
    ):
        building.wait()


def test_the_background_ends_with_what_it_was_for(tmp_path: Path, console: Console) -> None:
    started = tmp_path / "started"
    script = f"sleep 1000 & echo $! > {started}.new; mv {started}.new {started}; wait"
    with Background(tools(tmp_path, script), console, "corefit-devcluster", "build"):
        while not started.exists():
            pass
    child = Path("/proc") / started.read_text().strip() / "stat"
    assert not child.exists() or child.read_text().rpartition(") ")[2][0] == "Z"


def test_nobody_waits_for_a_build_who_can_have_no_cluster(
    tmp_path: Path, console: Console, seen: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran = tmp_path / "ran"
    monkeypatch.setattr(stage, "can_have_cluster", lambda: False)
    without = tools(tmp_path, f'echo "$1" >> {ran}; echo "$1 needs root" >&2; exit 1')
    monkeypatch.setattr(stage, "environment", lambda root: without)
    settings = Settings(root=ROOT, output=tmp_path / "out")
    with pytest.raises(StepFailed):
        Demo(settings, console).run()
    assert "predictions a second" in seen.getvalue()
    assert ran.read_text().split() == ["quota", "up", "down"]
