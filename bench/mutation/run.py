"""Mutation testing of core: how many small faults in its code do the quick tests find?

    python -m bench.mutation.run [--sample 400] [--seed 1] [--module NAME ...] [--folder FOLDER [--again]]

cosmic-ray (https://cosmic-ray.readthedocs.io) knows the mutations. A sample takes places in the code at random and one
mutation at each, so that an expression with twelve possible mutations counts as often as one with one. Unions in
annotations are left out: such a mutant ends with the import and says nothing of the tests.

A mutant meets the tests that run its line (`tests.py`), in a fork of a warm process (`warm.py`). It is found where one
fails, or where they never end by CPU time, which is counted by itself. Survivors are listed with their difference, to
be looked at: a test is missing, or the two programs are the same. The latter stand in `same.json`, with the reason.
"""

import argparse
import difflib
import json
import random
import shutil
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

from bench.mutation import warm
from bench.mutation.tests import PACKAGE, Tests, module_name
from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.ast.ast_query import ASTQuery
from cosmic_ray.mutating import mutate_code
from cosmic_ray.plugins import get_operator, operator_names

ROOT: Final = Path(__file__).parents[2]
RESULTS: Final = ROOT / "bench/results/mutation"
SAME: Final = Path(__file__).parent / "same.json"
LEFT_OUT: Final = ("api/reference.py", "api/status.py")
"""Modules that hold no decisions: text and declarations."""
FOUND: Final = ("failed", "endless")


class Mutant(NamedTuple):
    """A mutation at a place."""

    module: str
    operator: str
    occurrence: int
    place: tuple[int, int]
    function: str


def mutants(copy: Path, only: set[str]) -> list[Mutant]:
    """All that cosmic-ray knows, in the modules that were named, or in all."""
    found: list[Mutant] = []
    for path in sorted((copy / PACKAGE).rglob("*.py")):
        module = str(path.relative_to(copy / PACKAGE))
        part = module.split("/", maxsplit=1)[0].removesuffix(".py")
        if module not in LEFT_OUT and (not only or only & {part, module}):
            found.extend(_mutants_of(module, path))
    return sorted(found, key=lambda each: (each.module, each.place, each.operator, each.occurrence))


def _mutants_of(module: str, path: Path) -> Iterator[Mutant]:
    nodes = list(ast_nodes(get_ast(path.read_text())))
    for name in operator_names():
        kind = get_operator(name)
        if kind.arguments() or "BitOr" in name:
            continue
        operator = kind()
        places = ((node, start) for node in nodes for start, _ in operator.mutation_positions(node))
        for occurrence, (node, start) in enumerate(places):
            yield Mutant(module, name, occurrence, tuple(start), ASTQuery(node).get_definition_name() or "")


def sampled(all_of_them: list[Mutant], count: int, seed: int) -> list[Mutant]:
    """So many places, each with one of its mutations."""
    places: dict[tuple[str, tuple[int, int]], list[Mutant]] = defaultdict(list)
    for mutant in all_of_them:
        places[mutant.module, mutant.place].append(mutant)
    draw = random.Random(seed)
    chosen = draw.sample(sorted(places), min(count, len(places)))
    return [draw.choice(places[place]) for place in chosen]


def outcome(copy: Path, mutant: Mutant, tests: Tests) -> dict[str, Any]:
    """What the tests say of it, and the difference that it makes."""
    path = copy / PACKAGE / mutant.module
    before = path.read_text()
    after = mutate_code(before, get_operator(mutant.operator)(), mutant.occurrence)
    difference = _difference(before, after or before, mutant.module)
    chosen = tests.of(mutant.module, mutant.place[0])
    ended = warm.Ended("uncovered")
    if difference and chosen:
        mutation = warm.Mutation(module_name(mutant.module), path, after)
        ended = warm.run(copy, mutation, chosen, tests.limit(chosen))
    return {"place": f"{mutant.module} {mutant.function}", **ended._asdict(), "difference": difference}


def _difference(before: str, after: str, module: str) -> str:
    lines = difflib.unified_diff(before.splitlines(), after.splitlines(), module, module, lineterm="", n=0)
    return "\n".join(lines)


def main() -> None:
    """Draws, tries, and writes the summary."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sample", type=int, default=400, help="mutants (400)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--module", action="append", default=[], help="only this module or package of core (all)")
    parser.add_argument("--folder", type=Path, help="keeps the work; a run that was ended goes on from there (none)")
    parser.add_argument("--again", action="store_true", help="tries survivors again, with the tests of now")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        _run(options, (options.folder or Path(temporary)).absolute())


def _run(options: argparse.Namespace, folder: Path) -> None:
    copy, log = folder / "tree", folder / "tried.jsonl"
    if not copy.exists():
        shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(".venv", ".git", ".uv", ".*cache*"))
    if options.again:
        shutil.copytree(ROOT / "tests", copy / "tests", dirs_exist_ok=True)
    chosen = sampled(mutants(copy, set(options.module)), options.sample, options.seed)
    tests = Tests(copy)
    done: dict[str, dict[str, Any]] = {}
    for line in log.read_text().splitlines() if log.exists() else []:
        done[json.loads(line)["mutant"]] = json.loads(line)
    began = time.monotonic()
    for number, mutant in enumerate(chosen, 1):
        key = json.dumps(mutant)
        if key in done and not (options.again and done[key]["how"] not in FOUND):
            continue
        done[key] = {"mutant": key, **outcome(copy, mutant, tests)}
        with log.open("a") as file:
            print(json.dumps(done[key]), file=file)
        print(f"{number}/{len(chosen)} {time.monotonic() - began:.0f} s {done[key]['place']}: {done[key]['how']}")
    name = "-".join(sorted(options.module)).replace("/", ".") or "core"
    tried = [done[json.dumps(mutant)] for mutant in chosen]
    _write(name, options.seed, [each for each in tried if each["difference"]])


def _write(name: str, seed: int, tried: list[dict[str, Any]]) -> None:
    same = {(each["place"], _changed(each["difference"])): each["why"] for each in json.loads(SAME.read_text())}
    packages: dict[str, Counter[str]] = defaultdict(Counter)
    survivors = []
    for each in tried:
        why = same.get((each["place"], _changed(each["difference"])))
        how = each["how"] if each["how"] in FOUND else "same" if why else each["how"]
        for package in ("all", each["place"].split()[0].split("/")[0].removesuffix(".py")):
            packages[package][how] += 1
        if how not in FOUND:
            survivors.append("\n".join([f"{each['place']}: {how}", *([why] if why else []), each["difference"], ""]))
    lines = [f"Seed {seed}. " + _score(packages["all"]), ""]
    lines += [f"{package}: {_score(packages[package])}" for package in sorted(packages) if package != "all"]
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / f"{name}.txt").write_text("\n".join([*lines, "", *survivors]))
    print("\n".join(lines))


def _score(hows: Counter[str]) -> str:
    total, found = hows.total(), sum(hows[how] for how in FOUND)
    other = total - hows["same"]
    share = f"{found / total:.0%}, {found / max(1, other):.0%} of those that are other programs"
    return f"{found} of {total} mutants found ({share}): {', '.join(f'{n} {how}' for how, n in sorted(hows.items()))}"


def _changed(difference: str) -> str:
    """The lines that differ, wherever they are."""
    return "\n".join(line for line in difference.splitlines()[2:] if not line.startswith("@@"))


if __name__ == "__main__":
    main()
