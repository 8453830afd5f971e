"""A rule of the recommender before and after: a fixed sample of the grid, Corefit alone, compared with an earlier run.

    python bench/autoscale/sample.py --traces FOLDER --out AFTER.jsonl [--before BEFORE.jsonl] [--cells 3]

The sample is the grid's first three cells, in which each value of each dimension occurs once, on all traces, and the
representative cell with a range of CPU and half of it free: 56 cases, two minutes of CPU. `--cells 9` is the Latin
square, 27 the whole grid. What the clairvoyant pays and keeps is in bench/results/autoscale: it does not depend on
rules. May not judge: a rule is kept or not by people.
"""

import argparse
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import fmean, median
from typing import Final

import msgspec
from cells import RATES, REPRESENTATIVE, all_traces, cells
from store import Case, append, load, row
from studies import RANGE

from corefit.simulate.outcome import Setting
from corefit.simulate.run import simulate

RANGED: Final = "ranged"
HEADROOM: Final = 0.5
JUMPS: Final = ("bursty", "flash", "on-off", "step", "code")


def settings(count: int) -> Iterator[tuple[str, float, Setting]]:
    """The cells of the grid, and the one with a range: their names, the times of their requests, and what is set."""
    for cell in cells()[:count]:
        yield str(cell), RATES.get(cell.service_s, 1.0), cell.setting()
    given = REPRESENTATIVE.setting()
    service = msgspec.structs.replace(given.service, cpu_range=RANGE, headroom=HEADROOM)
    yield f"{REPRESENTATIVE} {RANGED}", 1.0, msgspec.structs.replace(given, service=service)


def run(folder: Path, out: Path, count: int) -> None:
    """Simulate what the file does not have yet."""
    known = load(out)
    for name, rate, given in settings(count):
        for trace in all_traces(folder, rate):
            case = Case(name, trace.name, {})
            if case.key not in known:
                append(Case(name, trace.name, {"corefit": row(simulate("corefit", trace, given))}), out)


def figures(cases: Sequence[Case], clairvoyant: dict[str, Case]) -> str:
    """Cost over the clairvoyant's, attainment, changes, and in how many cases the objective is kept or out of reach."""
    best = [clairvoyant[case.key.removesuffix(f" {RANGED}")].rows["clairvoyant"] for case in cases]
    ours = [case.rows["corefit"] for case in cases]
    cost = [mine.core_hours / theirs.core_hours for mine, theirs in zip(ours, best, strict=True)]
    kept = sum(mine.attainment >= 0.99 or theirs.attainment < 0.99 for mine, theirs in zip(ours, best, strict=True))
    return (
        f"cost median {median(cost):.4f} mean {fmean(cost):.4f}, kept {kept} of {len(cases)}, in time "
        f"{100 * fmean(mine.attainment for mine in ours):.3f} %, changes {sum(mine.changes for mine in ours)}"
    )


def compare(after: dict[str, Case], before: dict[str, Case]) -> None:
    """Print the figures of both, by kind of case, and the cases that differ most."""
    clairvoyant = load()
    kinds = {
        "smooth": [k for k in after if RANGED not in k and not any(word in k for word in JUMPS)],
        "jumps": [k for k in after if RANGED not in k and any(word in k for word in JUMPS)],
        "pods": [k for k in after if RANGED not in k],
        RANGED: [k for k in after if RANGED in k],
    }
    for kind, keys in kinds.items():
        for title, cases in (("before", before), ("after", after)):
            if keys and all(key in cases for key in keys):
                print(f"{kind:7} {title:6} {figures([cases[key] for key in keys], clairvoyant)}")
    both = [(after[key].rows["corefit"], before[key].rows["corefit"], key) for key in after if key in before]
    changed = [(a.core_hours / b.core_hours - 1, a.attainment - b.attainment, key) for a, b, key in both if a != b]
    if both:
        ratio = median(a.core_hours / b.core_hours for a, b, _ in both)
        print(f"{len(changed)} of {len(both)} cases differ; core-hours after over before, median {ratio:.4f}")
    for cost, attained, key in sorted(changed, key=lambda c: -abs(c[0]) - 10 * abs(c[1]))[:8]:
        print(f"  {100 * cost:+.1f} % core-hours, {100 * attained:+.2f} points in time: {key}")


def main() -> None:
    """Run the sample and compare it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--traces", type=Path, default=os.environ.get("COREFIT_TRACES"), required=False)
    parser.add_argument("--out", type=Path, required=True, help="what came, a line each case; what is there is kept")
    parser.add_argument("--before", type=Path, help="of an earlier run, to compare with")
    parser.add_argument("--cells", type=int, default=3, help="of the grid's 27 (3)")
    options = parser.parse_args()
    run(Path(options.traces), options.out, options.cells)
    compare(load(options.out), load(options.before) if options.before else {})


if __name__ == "__main__":
    main()
