"""Which tests a mutant meets: coverage.py says once which test runs which line."""

import ast
import json
from collections import defaultdict
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Final

from bench.mutation import warm

ROOT: Final = "corefit_core"
PACKAGE: Final = f"core/src/{ROOT}"
SLOW: Final = ("simulate", "bench_", "documented", "demo", "runtime_", "recommender_fall")
"""Of the files of tests/unit that import core, these take long, for what they test of core."""
GENERATES: Final = "corefit_core.api.crd"
"""Who imports it compares what is generated from all of `api` with what is committed."""
QUICK_S: Final = 10.0
"""CPU seconds of tests that one mutant meets, as long as they take without it."""
SLOWER: Final = 5
"""A mutant whose tests take so many times the CPU that they take without it never ends."""
START_S: Final = 30.0
"""CPU seconds that a run takes before its first test, at most."""


class Tests:
    """The quick tests: which line each runs, and how long it takes.

    Each file of tests is run once for it, when it is first needed, and not again as long as it stays as it is.

    Args:
        copy: the tree, without a mutation.
    """

    def __init__(self, copy: Path) -> None:
        self._copy = copy
        self._seconds: dict[str, float] = {}
        self._lines: dict[Path, dict[int, set[str]]] = defaultdict(lambda: defaultdict(set))
        self._files = _files(copy)
        self._mapped: set[str] = set()

    def of(self, module: str, row: int) -> list[str]:
        """The tests that run a line, for `QUICK_S` seconds: the nearest first, and of these the quickest.

        Nearest are those of files that import its module, then those of files that import something of its package.
        Where no test runs the line, those count that run its function. A line that the import runs (a constant, a
        default) belongs to no test: it meets those that run something of its module, or of a module that depends on it,
        and those that go through what the modules define.
        """
        name, running = module_name(module), self._running(module, row)
        near, package = self._importing(name), self._importing(name.rpartition(".")[0])

        def order(test: str) -> tuple[int, float]:
            file = test.split("::", 1)[0]
            return (0 if file in near else 1 if file in package else 2), self._seconds[test]

        return self._quick(sorted(running & self._seconds.keys(), key=order))

    def _running(self, module: str, row: int) -> set[str]:
        for file in self._files:
            self._map(file)
        path = self._copy / PACKAGE / module
        lines, span = self._lines[path], _function(path, row)
        if span is None:
            return set().union(*map(self._all_of, self._dependent(path)), self._of_all_modules())
        return lines[row] or {*chain.from_iterable(lines[line] for line in span)}

    def _importing(self, name: str) -> set[str]:
        """The files of tests that import this module, or something in it where it is a package; the root is none."""
        inside = {file: any(f"{each}.".startswith(f"{name}.") for each in names) for file, names in self._files.items()}
        return {file for file, found in inside.items() if found and name != ROOT}

    def _of_all_modules(self) -> set[str]:
        """The tests of files that import core as a whole, or generate from its modules what is committed."""
        files = {file for file, names in self._files.items() if names & {ROOT, GENERATES}}
        return {name for name in self._seconds if name.split("::", 1)[0] in files}

    def _map(self, file: str) -> None:
        if file in self._mapped:
            return
        self._mapped.add(file)
        folder = self._copy / "maps" / Path(file).stem
        modules, tests = folder / "modules.json", (self._copy / file).read_text()
        if not modules.exists() or (folder / "tests.py").read_text() != tests:
            folder.mkdir(parents=True, exist_ok=True)
            if not warm.map_tests(self._copy, file, folder):
                said = (self._copy / "output.txt").read_text()[-3000:]
                raise SystemExit(f"{file} fails without a mutation:\n{said}")
            (folder / "tests.py").write_text(tests)
        warm.warm_up(modules)
        self._seconds.update(json.loads((folder / "seconds.json").read_text()))
        for path, lines in json.loads((folder / "lines.json").read_text()).items():
            for row, names in lines.items():
                self._lines[Path(path)][int(row)].update(name for name in names if name)

    def limit(self, tests: list[str]) -> float:
        """The CPU seconds after which a run of these never ends."""
        return START_S + SLOWER * sum(self._seconds[name] for name in tests)

    def _quick(self, tests: list[str]) -> list[str]:
        chosen, total = [], 0.0
        for name in tests:
            total += self._seconds[name]
            if total <= QUICK_S or not chosen:
                chosen.append(name)
        return chosen

    def _all_of(self, path: Path) -> set[str]:
        return {*chain.from_iterable(self._lines[path].values())}

    def _dependent(self, path: Path) -> set[Path]:
        """The modules that import this one, or one that does, and itself."""
        found, new = {path}, {path}
        while new:
            names = {module_name(str(each.relative_to(self._copy / PACKAGE))) for each in new}
            new = {each for each, imported in self._imports.items() if imported & names} - found
            found |= new
        return found

    @cached_property
    def _imports(self) -> dict[Path, set[str]]:
        return {path: _imported(path) for path in sorted((self._copy / PACKAGE).rglob("*.py"))}


def module_name(module: str) -> str:
    """The dotted name of a file of core."""
    return ".".join((ROOT, *Path(module).with_suffix("").parts)).removesuffix(".__init__")


def _files(copy: Path) -> dict[str, set[str]]:
    """The files of tests, each with what it imports of core."""
    found = {}
    for path in sorted((copy / "tests/unit").glob("test_*.py")):
        names = {name for name in _imported(path) if f"{name}.".startswith(f"{ROOT}.")}
        if names and not any(slow in path.name for slow in SLOW):
            found[str(path.relative_to(copy))] = names
    return found


def _function(path: Path, row: int) -> range | None:
    """The lines of the body of the innermost function that has this line."""
    found = None
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            body = range(node.body[0].lineno, (node.end_lineno or node.lineno) + 1)
            found = body if row in body else found
    return found


def _imported(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {each.name for each in node.names}
        if isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"{node.module}.{each.name}" for each in node.names}
            found |= {node.module} - {ROOT}
    return found
