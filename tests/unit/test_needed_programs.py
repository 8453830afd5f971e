"""Nothing leans on a program that an earlier command, or a person, has installed: each one is declared in `needs`."""

import ast
import io
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console

from corefit_devcluster import host
from corefit_devcluster.needs import ESSENTIAL, PACKAGES
from corefit_devcluster.programs import FAMILIES, METRICS_SERVER
from corefit_devcluster.progress import Reporter
from corefit_devcluster.run import run

ROOT = Path(__file__).parents[2]
BUILT = {program.name for family in (*FAMILIES, METRICS_SERVER) for program in family.programs}
OWN = {"corefit-devcluster", "corefit-operator", "corefit-runtime", "corefit", "py-spy"}
"""Programs of the virtual environment, which `make` brings."""
PROGRAM = re.compile(r"[a-z][a-z0-9.+-]*")
RUNNERS = {"run", "Popen", "create_subprocess_exec", "check_call", "check_output", "call", "succeeds", "which"}
HARMLESS = {"install", "mktemp", "program"}
"""Functions that take such a name and run nothing of it unseen."""
FETCHED = {"go", "uv", "cosmic-ray"}
"""`toolchain.find_go` and the Makefile find or fetch them."""
GIVEN = {"make"}
"""Whoever types `make test` has it."""
NOT_PROGRAMS = {"no-such-program", "text", "y"}
"""Words that tests pass to functions of such names; `y` is the output of a model."""


def _first_word(node: ast.AST) -> str | None:
    """The program of a command line, where it is written out."""
    if isinstance(node, ast.List | ast.Tuple) and node.elts:
        return _first_word(node.elts[0]) if not isinstance(node.elts[0], ast.List | ast.Tuple) else None
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


def _commands(path: Path) -> Iterator[tuple[str, int]]:
    """The programs that a file runs, with the line."""
    for node in ast.walk(ast.parse(path.read_text())):
        name: str | None = None
        if isinstance(node, ast.Call) and node.args:
            function = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            name = _first_word(node.args[0])
            # Of other functions only a known program's name is recognised, as in `lines("ip", "link")`.
            name = name if function in RUNNERS or (name in PACKAGES and function not in HARMLESS) else None
        elif isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "command":
            name = _first_word(node.value)
        if name and PROGRAM.fullmatch(name):
            yield name, node.lineno


def _sources(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def _named(*folders: str) -> dict[str, str]:
    return {
        f"{path.relative_to(ROOT)}:{line}": name
        for path in _sources(*folders)
        if path != Path(__file__)
        for name, line in _commands(path)
    }


def test_every_program_that_is_run_is_declared_with_the_package_that_brings_it() -> None:
    known = {*PACKAGES, *ESSENTIAL, *BUILT, *OWN, *FETCHED, *GIVEN, *NOT_PROGRAMS}
    named = _named("tests", "bench", "cli/src", "core/src", "devcluster/src", "operator/src", "runtime/src")
    assert len(named) > 20, "the search finds command lines"
    strangers = {where: name for where, name in named.items() if name not in known}
    assert strangers == {}, "declare them in corefit_devcluster/needs.py"


def test_tests_and_benches_take_such_a_program_from_the_one_place_that_installs_it() -> None:
    """The lifecycle test ran `iptables-save` before the cluster's start had installed iptables."""
    declared = {*PACKAGES} - ESSENTIAL
    taken = {where: name for where, name in _named("tests", "bench").items() if name in declared}
    assert taken == {}, "run corefit_devcluster.host.program(NAME, reporter) instead of NAME"


def test_a_program_that_is_missing_is_installed_by_its_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked: list[list[str]] = []

    def install(packages: list[str], reporter: Reporter) -> None:
        asked.append(packages)
        (tmp_path / "iptables-save").write_text("#!/bin/sh\n")
        (tmp_path / "iptables-save").chmod(0o755)

    monkeypatch.setattr(host, "install", install)
    monkeypatch.setattr("corefit_devcluster.run.ADMINISTRATORS", "")
    monkeypatch.setattr(os, "environ", {**os.environ, "PATH": str(tmp_path)})
    reporter = Reporter(Console(file=io.StringIO()))
    assert host.program("iptables-save", reporter) == str(tmp_path / "iptables-save")
    assert host.program("iptables-save", reporter) == str(tmp_path / "iptables-save")
    assert asked == [["iptables"]]


def test_a_program_that_is_missing_is_explained_by_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("corefit_devcluster.run.ADMINISTRATORS", "")
    with pytest.raises(Exception, match=r"(?s)conntrack is not installed.*apt-get install conntrack"):
        run(["conntrack", "-L"], env={"PATH": "/nowhere"})
