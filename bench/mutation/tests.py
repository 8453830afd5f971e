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
        """The tests that run a line, the quickest first, for `QUICK_S` seconds.

        First come those of files that import its module; where none of them runs it, those of files that import
        something of its package; then all. Where no test runs the line, those count that run its function. A line that
        the import runs (a constant, a default) belongs to no test: it meets those that run something of its module, or
        of a module that imports it.
        """
        name = module_name(module)
        for near in (name, name.rpartition(".")[0]):
            importing = [file for file, names in self._files.items() if _below(names, near)]
            chosen = self._quick(self._running(module, row, importing))
            if chosen:
                return chosen
        return self._quick(self._running(module, row, list(self._files)))

    def _running(self, module: str, row: int, files: list[str]) -> set[str]:
        for file in files:
            self._map(file)
        path = self._copy / PACKAGE / module
        lines, span = self._lines[path], _function(path, row)
        if span is None:
            running = [self._all_of(path), *map(self._all_of, self._importers(module))]
        else:
            running = [lines[row], {*chain.from_iterable(lines[line] for line in span)}]
        of_files = ({name for name in names if name.split("::", 1)[0] in files} for names in running)
        found = next((names for names in of_files if names), set())
        return found | self._of_all_modules() if found and span is None else found

    def _of_all_modules(self) -> set[str]:
        """The tests of files that import core as a whole, and go through what its modules define."""
        files = [file for file, names in self._files.items() if ROOT in names]
        for file in files:
            self._map(file)
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

    def _quick(self, tests: set[str]) -> list[str]:
        chosen, total = [], 0.0
        for name in sorted(tests & self._seconds.keys(), key=self._seconds.__getitem__):
            total += self._seconds[name]
            if chosen and total > QUICK_S:
                break
            chosen.append(name)
        return chosen

    def _all_of(self, path: Path) -> set[str]:
        return {*chain.from_iterable(self._lines[path].values())}

    def _importers(self, module: str) -> list[Path]:
        name = module_name(module)
        return [path for path, names in self._imports.items() if name in names]

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


def _below(names: set[str], near: str) -> bool:
    """Whether one of the names is this module, or in it where it is a package; the root is no package of its own."""
    return near != ROOT and any(f"{name}.".startswith(f"{near}.") for name in names)


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
