"""The recommender against other autoscalers, on real and synthetic traces: which bars are met, with figures.

    python bench/autoscale/run.py --traces FOLDER [--cells 9] [--policy NAME ...] [--again] [--part NAME ...]

Traces are not part of the project: the folder (or $COREFIT_TRACES) may hold `*.txt` with counts a second and
`*.csv.gz` with timestamps; without it the synthetic ones alone run. The whole grid (27 cells, 14 traces, 18 policies)
takes two hours of CPU, so that its first cell is the default; any number of cells is a balanced sample of it. What is
done is kept in bench/results/autoscale and not done again, unless `--again` says so.
"""

import argparse
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import report
import studies
from cells import RATES, Cell, all_traces, cells
from rich.console import Console
from rich.progress import Progress
from rivals import POLICIES, naive_share
from store import CASES, Case, append, compact, load, row

from corefit.simulate.run import simulate

PARTS: Final = ("grid", "flaws", "ranges", "foresight", "report")


def grid(folder: Path | None, chosen: Sequence[Cell], policies: Sequence[str], *, again: bool) -> None:
    """Simulate what is not known yet, a cell after the other."""
    unsized, known = naive_share().value, load()
    with Progress(console=Console(stderr=True)) as progress:
        task = progress.add_task("grid")
        for number, cell in enumerate(chosen):
            for trace in all_traces(folder, RATES.get(cell.service_s, 1.0)):
                case = Case(str(cell), trace.name, {})
                done = known[case.key].rows if case.key in known and not again else {}
                given = cell.setting(unsized)
                rows = {name: row(simulate(name, trace, given)) for name in policies if name not in done}
                if rows:
                    append(Case(case.cell, case.trace, rows))
            progress.update(task, completed=number + 1, total=len(chosen))
    compact(CASES)


def main() -> None:
    """Run the parts that were asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--traces", type=Path, default=os.environ.get("COREFIT_TRACES"))
    parser.add_argument("--cells", type=int, default=1, help="of the grid's 27, in an order that is balanced (1)")
    parser.add_argument("--policy", action="append", choices=POLICIES, help="only these (all)")
    parser.add_argument("--again", action="store_true", help="anew, whatever is known")
    parser.add_argument("--part", action="append", choices=PARTS, help="only these (all)")
    options = parser.parse_args()
    folder = Path(options.traces) if options.traces else None
    parts: dict[str, Callable[[], object]] = {
        "grid": lambda: grid(folder, cells()[: options.cells], options.policy or POLICIES, again=options.again),
        "flaws": lambda: studies.flaws(folder),
        "ranges": lambda: studies.ranges(folder),
        "foresight": lambda: studies.foresight(folder),
        "report": report.write,
    }
    for part in PARTS:
        if part in (options.part or PARTS):
            parts[part]()


if __name__ == "__main__":
    main()
