"""A warm process for many runs of the tests: libraries are imported once, core and the tests anew in each fork.

A run that doesn't end is ended by its own CPU time, so that a busy machine decides nothing. One that waits without
using CPU is ended after `PATIENCE_S`, and is neither found nor missed: it is `stuck`.
"""

import importlib
import importlib.machinery
import importlib.util
import json
import os
import resource
import select
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import CodeType, ModuleType
from typing import Final, NamedTuple

import pytest
from coverage import Coverage
from hypothesis import HealthCheck, Phase, settings

PATIENCE_S: Final = 900.0
DATA_BYTES: Final = 6 * 2**30
"""What a run may allocate: a mutant that allocates without end fails by itself."""
SOURCES: Final = ("core/src", "operator/src", "runtime/src", "cli/src", "devcluster/src", "tests")
_HOWS: Final[dict[int, str]] = {
    pytest.ExitCode.OK: "passed",
    pytest.ExitCode.TESTS_FAILED: "failed",
    pytest.ExitCode.INTERRUPTED: "failed",  # by an error in a module that tests import
    pytest.ExitCode.NO_TESTS_COLLECTED: "empty",
}
OURS: Final = ("corefit", "unit", "tests", "conftest", "__main__", "bench", "test_")


class Ended(NamedTuple):
    """How a run of tests ended.

    Attributes:
        how: `passed`, `failed`, `endless` (by CPU time), `stuck` (waits for ever), `empty` (no test ran), `broken`
            (pytest itself could not go on).
        by: the first test that failed, where one did.
    """

    how: str
    by: str = ""


class Mutation(NamedTuple):
    """A module of the copy with another text."""

    name: str
    path: Path
    text: str


def run(copy: Path, mutation: Mutation | None, tests: Sequence[str], cpu_s: float) -> Ended:
    """Runs these tests, in this order, until the first that fails."""
    said = copy / "failed.txt"
    said.unlink(missing_ok=True)
    status = _forked(lambda: _child(copy, mutation, _Chosen(tests, said)), copy, cpu_s)
    by = said.read_text() if said.exists() else ""
    if status is None:
        return Ended("stuck")
    if os.WIFSIGNALED(status):
        return Ended("endless" if os.WTERMSIG(status) == signal.SIGXCPU else "failed", by or f"signal {status}")
    how = _HOWS.get(os.WEXITSTATUS(status), "broken")
    return Ended(how, by or ("the import" if how == "failed" else ""))


def map_tests(copy: Path, file: str, folder: Path) -> bool:
    """Runs all tests of a file once; writes into a folder which lines each runs, its CPU seconds, and its imports."""
    return _forked(lambda: _child(copy, None, _Mapped(copy, file, folder), stop=False), copy, None) == 0


def warm_up(modules: Path) -> None:
    """Imports what tests import, but core and the tests."""
    for name in [name for name in json.loads(modules.read_text()) if name not in sys.modules]:
        with suppress(Exception):  # It is then imported in each child.
            importlib.import_module(name)


class _Plugin:
    """What each run of pytest here has: few examples, always the same.

    Args:
        files: the files that it collects.
    """

    def __init__(self, files: Sequence[str]) -> None:
        self.files = files

    def pytest_sessionstart(self) -> None:
        settings.register_profile(
            "mutants",
            max_examples=25,
            deadline=None,
            derandomize=True,
            database=None,
            phases=[Phase.explicit, Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        settings.load_profile("mutants")


class _Chosen(_Plugin):
    """Some tests, in their order, and which of them fails first."""

    def __init__(self, tests: Sequence[str], said: Path) -> None:
        super().__init__(list(dict.fromkeys(test.split("::", 1)[0] for test in tests)))
        self._rank = {test: rank for rank, test in enumerate(tests)}
        self._said = said

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        chosen = [item for item in items if item.nodeid in self._rank]
        items[:] = sorted(chosen, key=lambda item: self._rank[item.nodeid])

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed and not self._said.exists():
            self._said.write_text(report.nodeid)


class _Mapped(_Plugin):
    """All tests, each with the lines of core that it runs and the CPU seconds that it takes."""

    def __init__(self, copy: Path, file: str, folder: Path) -> None:
        super().__init__([file])
        self._folder = folder
        self._seconds: dict[str, float] = {}
        self._coverage = Coverage(data_file=None, config_file=False, source=[str(copy / "core/src/corefit_core")])
        self._coverage.start()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        self._coverage.switch_context(item.nodeid)
        began = time.process_time()
        try:
            return (yield)
        finally:
            self._seconds[item.nodeid] = time.process_time() - began
            self._coverage.switch_context("")

    def pytest_sessionfinish(self) -> None:
        self._coverage.stop()
        data = self._coverage.get_data()
        lines = {path: data.contexts_by_lineno(path) for path in sorted(data.measured_files())}
        theirs = [name for name in sys.modules if not name.startswith(OURS)]
        for name, content in (("lines", lines), ("seconds", self._seconds), ("modules", theirs)):
            (self._folder / f"{name}.json").write_text(json.dumps(content))


def _child(copy: Path, mutation: Mutation | None, plugin: _Plugin, *, stop: bool = True) -> int:
    os.chdir(copy)
    paths = [str(copy / source) for source in SOURCES]
    sys.path[:0] = paths
    os.environ["PYTHONPATH"] = os.pathsep.join(paths)
    if mutation:
        sys.meta_path.insert(0, _Finder(mutation))
    options = ["-q", "-p", "no:cacheprovider", "-o", "timeout=0", "-W", "ignore::pytest.PytestAssertRewriteWarning"]
    return int(pytest.main([*options, *(["-x"] if stop else []), *plugin.files], plugins=[plugin]))


class _Finder:
    """Finds one module, with the text that it has in the mutant."""

    def __init__(self, mutation: Mutation) -> None:
        self._mutation = mutation

    def find_spec(
        self, name: str, _path: Sequence[str] | None, _target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if name != self._mutation.name:
            return None
        path = self._mutation.path
        folder = [str(path.parent)] if path.name == "__init__.py" else None
        loader = _Loader(name, self._mutation)
        return importlib.util.spec_from_file_location(name, path, loader=loader, submodule_search_locations=folder)


class _Loader(importlib.machinery.SourceFileLoader):
    def __init__(self, name: str, mutation: Mutation) -> None:
        super().__init__(name, str(mutation.path))
        self._text = mutation.text

    def get_code(self, fullname: str) -> CodeType | None:  # noqa: ARG002 - there is one
        return compile(self._text, self.path, "exec", dont_inherit=True)


def _forked(work: Callable[[], int], copy: Path, cpu_s: float | None) -> int | None:
    """The wait status of a child that does this; None where it waited for ever."""
    sys.stdout.flush()
    pid = os.fork()
    if pid == 0:
        code = 70
        try:
            with _quiet(copy / "output.txt"):
                _limit(cpu_s)
                code = work()
        except BaseException:  # noqa: BLE001 - the child ends with it
            (copy / "output.txt").write_text(traceback.format_exc())
        finally:
            os._exit(code)
    descriptor = os.pidfd_open(pid)
    ended = select.select([descriptor], [], [], PATIENCE_S if cpu_s else None)[0]
    os.close(descriptor)
    if not ended:
        os.kill(pid, signal.SIGKILL)
    status = os.waitpid(pid, 0)[1]
    return status if ended else None


@contextmanager
def _quiet(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
        yield
        sys.stdout.flush()


def _limit(cpu_s: float | None) -> None:
    if cpu_s is None:
        return
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_DATA, (DATA_BYTES, DATA_BYTES))
    resource.setrlimit(resource.RLIMIT_CPU, (int(cpu_s) + 1, int(cpu_s) + 10))
