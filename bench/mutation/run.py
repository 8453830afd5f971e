"""Mutation testing of core: how many small faults in its code do the quick tests find?

    python bench/mutation/run.py [--sample 400] [--seed 1] [--module NAME ...]

cosmic-ray (https://cosmic-ray.readthedocs.io) knows the mutations. A sample takes places in the code at random and one
mutation at each, so that an expression with twelve possible mutations counts as often as one with one. Unions in
annotations are left out: such a mutant ends with the import and says nothing of the tests.

coverage.py says once which test runs which line. A mutant meets the tests that run its line, the quickest first, for
`QUICK_S` seconds of tests at most. Survivors are listed with their difference, to be looked at: a test is missing, or
the two programs are the same.
"""

import argparse
import json
import os
import random
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections import defaultdict
from itertools import chain
from pathlib import Path
from typing import Any, Final, NamedTuple

from coverage import CoverageData
from rich.console import Console
from rich.progress import Progress

ROOT: Final = Path(__file__).parents[2]
RESULTS: Final = ROOT / "bench/results/mutation"
PACKAGE: Final = "core/src/corefit_core"
LEFT_OUT: Final = ("api/reference.py", "api/status.py")
"""Modules that hold no decisions: text and declarations."""
TESTS: Final = (
    *(
        "api",
        "batching",
        "burst",
        "crd",
        "election",
        "environment",
        "figures",
        "memory",
        "naming",
        "operator_manifests",
    ),
    *(
        "platform_policy",
        "quantity",
        "recommender*",
        "report",
        "runtime_api",
        "service_port_name",
        "sidecar",
        "sizing",
        "text",
    ),
    "window",
)
"""Of tests/unit: the files that test core."""
QUICK_S: Final = 30.0
"""Seconds of tests that one mutant meets, as long as they take without it."""
SLOWER: Final = 5
"""A mutant whose tests take so many times as long as without it hangs: it counts as found."""
PLUGIN: Final = """
import json, os
from hypothesis import Phase, settings
settings.register_profile(
    "mutants", max_examples=25, deadline=None, derandomize=True, database=None, phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(__import__("hypothesis").HealthCheck),
)
settings.load_profile("mutants")
def pytest_runtest_logreport(report):
    if report.when == "call" and "DURATIONS" in os.environ:
        with open(os.environ["DURATIONS"], "a") as file:
            print(json.dumps([report.nodeid, report.duration]), file=file)
"""


class Mutant(NamedTuple):
    """A mutation at a place."""

    module: str
    operator: str
    occurrence: int
    place: tuple[int, int]
    function: str


def mutants(copy: Path, only: set[str]) -> list[Mutant]:
    """All that cosmic-ray knows, in the modules that were named, or in all."""
    config, session = copy / "mutation.toml", copy / "mutation.sqlite"
    config.write_text(
        f'[cosmic-ray]\nmodule-path = ["{PACKAGE}"]\ntimeout = 300.0\nexcluded-modules = []\n'
        'test-command = "true"\n[cosmic-ray.distributor]\nname = "local"\n'
    )
    subprocess.run(["cosmic-ray", "init", config.name, session.name], cwd=copy, check=True)
    query = (
        "select module_path, operator_name, occurrence, start_pos_row, start_pos_col, definition_name "
        "from mutation_specs order by 1, 4, 5, 2, 3"
    )
    found = []
    with sqlite3.connect(session) as database:
        for path, operator, occurrence, row, column, function in database.execute(query):
            module = str(Path(path).relative_to(PACKAGE))
            wanted = not only or module.split("/", maxsplit=1)[0] in only
            if wanted and module not in LEFT_OUT and "BitOr" not in operator:
                found.append(Mutant(module, operator, occurrence, (row, column), function or ""))
    return found


def sampled(all_of_them: list[Mutant], count: int, seed: int) -> list[Mutant]:
    """So many places, each with one of its mutations."""
    places: dict[tuple[str, tuple[int, int]], list[Mutant]] = defaultdict(list)
    for mutant in all_of_them:
        places[mutant.module, mutant.place].append(mutant)
    draw = random.Random(seed)
    chosen = draw.sample(sorted(places), min(count, len(places)))
    return [draw.choice(places[place]) for place in chosen]


class Coverage:
    """Which tests run which line of core, and how long they take.

    Args:
        copy: the tree, without a mutation.
    """

    def __init__(self, copy: Path) -> None:
        paths = [path for name in TESTS for path in (copy / "tests/unit").glob(f"test_{name}.py")]
        data, durations = copy / "mutation.coverage", copy / "durations.jsonl"
        command = ["--cov=corefit_core", "--cov-context=test", "--cov-report=", *map(str, sorted(set(paths)))]
        if not data.exists():
            done = _pytest(copy, command, None, COVERAGE_FILE=str(data), DURATIONS=str(durations))
            if done.returncode:
                raise SystemExit(f"the tests fail without a mutation:\n{done.stdout.decode()[-3000:]}")
        self._seconds: dict[str, float] = dict(json.loads(line) for line in durations.read_text().splitlines())
        self._data = CoverageData(str(data))
        self._data.read()
        self._copy = copy

    def tests_of(self, mutant: Mutant) -> list[str]:
        """The tests that run the mutant's line, the quickest first; those of the whole file where none does.

        A line that the import runs (a constant, a default) belongs to no test.
        """
        lines = self._data.contexts_by_lineno(str(self._copy / PACKAGE / mutant.module))
        tests = _test_names(lines.get(mutant.place[0], [])) or _test_names([*chain.from_iterable(lines.values())])
        chosen, total = [], 0.0
        for name in sorted(tests & self._seconds.keys(), key=self._seconds.__getitem__):
            total += self._seconds[name]
            if total > QUICK_S:
                break
            chosen.append(name)
        return chosen

    def seconds(self, tests: list[str]) -> float:
        """How long these take together."""
        return sum(self._seconds[name] for name in tests)


def _test_names(contexts: list[str]) -> set[str]:
    return {context.rsplit("|", 1)[0] for context in contexts if context}


def outcome(copy: Path, mutant: Mutant, coverage: Coverage) -> tuple[bool, str]:
    """Whether the tests find it, and the difference that it makes."""
    path = copy / PACKAGE / mutant.module
    before = path.read_text()
    command = ["cosmic-ray", "apply", str(path.relative_to(copy)), mutant.operator, str(mutant.occurrence)]
    try:
        subprocess.run(command, cwd=copy, check=True, capture_output=True)
        if path.read_text() == before:
            return True, ""
        return _found(copy, coverage, mutant), _difference(before, path.read_text(), mutant.module)
    finally:
        path.write_text(before)


def _found(copy: Path, coverage: Coverage, mutant: Mutant) -> bool:
    tests = coverage.tests_of(mutant)
    if not tests:
        return False
    try:
        return _pytest(copy, ["-x", *tests], 60 + SLOWER * coverage.seconds(tests)).returncode != 0
    except subprocess.TimeoutExpired:
        return True


def _pytest(
    copy: Path, arguments: list[str], timeout: float | None, **variables: str
) -> "subprocess.CompletedProcess[bytes]":
    paths = f"{copy / 'core/src'}:{copy / 'tests'}"
    environment = {**os.environ, "PYTHONPATH": paths, "PYTHONDONTWRITEBYTECODE": "1", **variables}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments]
    return subprocess.run(command, cwd=copy, env=environment, capture_output=True, timeout=timeout, check=False)


def _difference(before: str, after: str, module: str) -> str:
    import difflib  # noqa: PLC0415 - for survivors

    lines = difflib.unified_diff(before.splitlines(), after.splitlines(), module, module, lineterm="", n=0)
    return "\n".join(lines)


def main() -> None:
    """Draws, tries, and writes the summary."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sample", type=int, default=400, help="mutants (400)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--module", action="append", default=[], help="only this module or package of core (all)")
    parser.add_argument("--folder", type=Path, help="keeps the work; a run that was ended goes on from there (none)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        _run(options, options.folder or Path(temporary))


def _run(options: argparse.Namespace, folder: Path) -> None:
    copy, log = folder / "tree", folder / "tried.jsonl"
    if not copy.exists():
        shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(".venv", ".git", ".uv", ".*cache*"))
        conftest = copy / "tests/conftest.py"
        conftest.write_text(f"{conftest.read_text()}\n{PLUGIN}")
    chosen = sampled(mutants(copy, set(options.module)), options.sample, options.seed)
    coverage = Coverage(copy)
    done = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
    with Progress(console=Console(stderr=True)) as progress:
        task = progress.add_task("mutants", total=len(chosen), completed=len(done))
        for mutant in chosen[len(done) :]:
            found, difference = outcome(copy, mutant, coverage)
            done.append({"place": f"{mutant.module} {mutant.function}", "found": found, "difference": difference})
            with log.open("a") as file:
                print(json.dumps(done[-1]), file=file)
            progress.update(task, advance=1)
    _write("-".join(sorted(options.module)) or "core", options.seed, [each for each in done if each["difference"]])


def _write(name: str, seed: int, tried: list[dict[str, Any]]) -> None:
    survivors = [f"{each['place']}\n{each['difference']}" for each in tried if not each["found"]]
    killed = len(tried) - len(survivors)
    lines = [
        f"{killed} of {len(tried)} mutants found ({killed / max(1, len(tried)):.0%}), seed {seed}.",
        "",
        *survivors,
    ]
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / f"{name}.txt").write_text("\n".join(lines) + "\n")
    print(lines[0])


if __name__ == "__main__":
    main()
