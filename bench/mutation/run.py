"""Mutation testing of core: how many small faults in its code do the quick tests find?

    python bench/mutation/run.py [--sample 400] [--seed 1] [--module NAME ...]

cosmic-ray (https://cosmic-ray.readthedocs.io) knows the mutations. A sample takes places in the code at random and one
mutation at each, so that an expression with twelve possible mutations counts as often as one with one. Unions in
annotations are left out: such a mutant ends with the import and says nothing of the tests. Each mutant meets the tests
of its module only (`TESTS`). Survivors are listed with their difference, to be looked at: a test is missing, or the two
programs are the same.
"""

import argparse
import os
import random
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Final, NamedTuple

from rich.console import Console
from rich.progress import Progress

ROOT: Final = Path(__file__).parents[2]
RESULTS: Final = ROOT / "bench/results/mutation"
PACKAGE: Final = "core/src/corefit_core"
LEFT_OUT: Final = ("api/reference.py", "api/status.py")
"""Modules that hold no decisions: text and declarations."""
TESTS: Final = {
    "api": ("api", "crd"),
    "recommender": ("recommender*",),
    "pods": ("sidecar", "ports", "operator_manifests", "environment"),
    "service": ("api", "operator_manifests", "platform_policy"),
    "environment": ("environment", "operator_manifests"),
    "manifest": ("operator_manifests", "api"),
    "errors": ("runtime_api",),
    "window": ("window", "recommender*"),
}
"""By the first part of a module's path: the test files in tests/unit. A module that is not here has one of its name."""
TIMEOUT_S: Final = 300
QUICK: Final = "from hypothesis import settings; settings.register_profile('mutants', max_examples=25, deadline=None)"


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
        f'[cosmic-ray]\nmodule-path = ["{PACKAGE}"]\ntimeout = {TIMEOUT_S}.0\nexcluded-modules = []\n'
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


def tests_of(module: str) -> list[str]:
    """The test files that the mutant of a module meets."""
    first = module.removesuffix(".py").split("/")[0]
    names = TESTS.get(first, (first,))
    return sorted({str(path.relative_to(ROOT)) for n in names for path in ROOT.glob(f"tests/unit/test_{n}.py")})


def outcome(copy: Path, mutant: Mutant) -> tuple[bool, str]:
    """Whether the tests find it, and the difference that it makes."""
    path = copy / PACKAGE / mutant.module
    before = path.read_text()
    command = ["cosmic-ray", "apply", str(path.relative_to(copy)), mutant.operator, str(mutant.occurrence)]
    try:
        subprocess.run(command, cwd=copy, check=True, capture_output=True)
        if path.read_text() == before:
            return True, ""
        return _found(copy, mutant.module), _difference(before, path.read_text(), mutant.module)
    finally:
        path.write_text(before)


def _found(copy: Path, module: str) -> bool:
    environment = {**os.environ, "PYTHONPATH": f"{copy / 'core/src'}:{copy / 'tests'}", "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "--hypothesis-profile=mutants"]
    try:
        done = subprocess.run(
            [*command, *tests_of(module)],
            cwd=copy,
            env=environment,
            capture_output=True,
            timeout=TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return True
    return done.returncode != 0


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
    options = parser.parse_args()
    console, survivors, tried = Console(stderr=True), [], 0
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "tree"
        shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(".venv", ".git", ".uv", ".*cache*"))
        conftest = copy / "tests/conftest.py"
        conftest.write_text(f"{conftest.read_text()}\n{QUICK}\nsettings.load_profile('mutants')\n")
        chosen = sampled(mutants(copy, set(options.module)), options.sample, options.seed)
        with Progress(console=console) as progress:
            task = progress.add_task("mutants", total=len(chosen))
            for mutant in chosen:
                found, difference = outcome(copy, mutant)
                if difference:
                    tried += 1
                    survivors += [] if found else [f"{mutant.module} {mutant.function}\n{difference}"]
                progress.update(task, advance=1, description=f"{tried - len(survivors)} of {tried} found")
    RESULTS.mkdir(parents=True, exist_ok=True)
    name = "-".join(sorted(options.module)) or "core"
    killed = tried - len(survivors)
    lines = [f"{killed} of {tried} mutants found ({killed / max(1, tried):.0%}), seed {options.seed}.", "", *survivors]
    (RESULTS / f"{name}.txt").write_text("\n".join(lines) + "\n")
    console.print(lines[0])


if __name__ == "__main__":
    main()
