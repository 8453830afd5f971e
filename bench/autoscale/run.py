"""The recommender against other autoscalers, on real and synthetic traces: which bars are met, with figures.

    python bench/autoscale/run.py --traces FOLDER [--cases 12 | --all]

Traces are not part of the project: the folder (or $COREFIT_TRACES) may hold `*.txt` with counts a second and
`*.csv.gz` with timestamps; without it the synthetic ones alone run. A full grid takes hours on one core, so that a
seeded sample of it is the default. Each case is written as it ends: an interrupted run goes on where it was.
"""

import argparse
import itertools
import os
import random
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
from bars import Case, summary
from rich.console import Console
from rich.progress import track

from corefit.simulate import synthetic, traces
from corefit.simulate.corefit import Flaws
from corefit.simulate.fleet import Service
from corefit.simulate.run import Outcome, Setting, simulate
from corefit.simulate.traces import Trace
from corefit_core.recommender import CpuRange
from corefit_core.sizing import Objective

RESULTS = Path(__file__).parents[1] / "results" / "autoscale"
STARTUPS_S, SERVICES_S, WORKERS = (5.0, 20.0, 60.0), (0.005, 0.05, 0.2), (1, 2, 4)
OBJECTIVE = 3.0
"""Times the service time: what the issue's own example (50 ms, 150 ms) allows for waiting."""
TIMESTAMPS_SCALE = 20.0
"""The recorded LLM services had 3 to 5 requests a second: as many as the other traces have, so that pods count."""
PEAK = 250.0
RIVALS = (
    *(f"hpa:{t}" for t in (30, 50, 60, 70, 80, 90)),
    *(f"kpa:{t}" for t in (50, 60, 70, 90)),
    "ray",
    "ray:70",
)
POLICIES = ("corefit", "clairvoyant", "static", "naive", *RIVALS)
HEADROOMS = (0.0, 0.5, 1.0)
FLAWS = {
    "none": Flaws(),
    "service time 30 % too low": Flaws(service_factor=0.7),
    "service time 30 % too high": Flaws(service_factor=1.3),
    "reports 10 s late": Flaws(late_s=10.0),
    "a third of the pods silent": Flaws(silent=1 / 3),
}


def all_traces(folder: Path | None) -> list[Trace]:
    found = [synthetic.trace(shape, PEAK) for shape in synthetic.SHAPES]
    if folder is None or not folder.is_dir():
        print("no folder of traces: the synthetic ones alone (--traces or COREFIT_TRACES)", file=sys.stderr)
        return found
    files = sorted(p for p in folder.rglob("*") if p.suffixes[-1:] == [".txt"] and "LICENSE" not in p.name)
    found += [traces.read(path) for path in files]
    return found + [traces.read(path, TIMESTAMPS_SCALE) for path in sorted(folder.rglob("*.csv.gz"))]


def grid(found: list[Trace]) -> list[tuple[Trace, float, float, int]]:
    return list(itertools.product(found, STARTUPS_S, SERVICES_S, WORKERS))


def setting(startup_s: float, service_s: float, workers: int, unsized: float) -> Setting:
    objective = Objective(percentile=99.0, latency_s=OBJECTIVE * service_s)
    service = Service(service_s=service_s, workers=workers, startup_s=startup_s, objective=objective)
    return Setting(service=service, unsized=unsized)


def brief(outcome: Outcome) -> Outcome:
    """Without the series: the results are read by people."""
    return msgspec.structs.replace(outcome, times_s=[], replicas=[], latency_s=[])


def run_cases(chosen: list[tuple[Trace, float, float, int]], unsized: float, done: Path) -> Iterator[Case]:
    known = {c.key: c for c in map(msgspec.json.Decoder(Case).decode, done.read_bytes().splitlines())}
    for trace, startup_s, service_s, workers in track(chosen, console=Console(stderr=True)):
        key = f"{trace.name} startup={startup_s:g}s service={1000 * service_s:g}ms workers={workers}"
        if key not in known:
            given = setting(startup_s, service_s, workers, unsized)
            case = Case(key, trace.name, {name: brief(simulate(name, trace, given)) for name in POLICIES})
            with done.open("ab") as file:
                file.write(msgspec.json.encode(case) + b"\n")
            known[key] = case
        yield known[key]


def sensitivity(found: list[Trace], unsized: float) -> dict[str, dict[str, Outcome]]:
    """Corefit with flawed reports on one smooth and one bursty trace."""
    given = setting(20.0, 0.05, 2, unsized)
    chosen = [t for t in found if t.name in {"synthetic-diurnal", "synthetic-bursty"}]
    return {
        trace.name: {
            name: brief(simulate("corefit", trace, msgspec.structs.replace(given, flaws=flaws)))
            for name, flaws in FLAWS.items()
        }
        for trace in chosen
    }


def second_dimension(found: list[Trace], unsized: float) -> dict[str, dict[str, Outcome]]:
    """Corefit with pods alone, and with CPU of 1 to 8 cores a pod at three head-rooms, on every trace."""
    given = setting(20.0, 0.05, 2, unsized)
    span = CpuRange(min_millicores=1000, max_millicores=8000)
    outcomes: dict[str, dict[str, Outcome]] = {}
    for trace in track(found, console=Console(stderr=True)):
        rows = {name: brief(simulate(name, trace, given)) for name in ("clairvoyant", "corefit")}
        for headroom in HEADROOMS:
            service = msgspec.structs.replace(given.service, cpu_range=span, headroom=headroom)
            ranged = msgspec.structs.replace(given, service=service)
            rows[f"head-room {100 * headroom:g} %"] = brief(simulate("corefit", trace, ranged))
        outcomes[trace.name] = rows
    return outcomes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--traces", type=Path, default=os.environ.get("COREFIT_TRACES"))
    parser.add_argument("--cases", type=int, default=12, help="a seeded sample of the grid (12)")
    parser.add_argument("--all", action="store_true", help="the whole grid")
    parser.add_argument("--startup-s", type=float, choices=STARTUPS_S, help="only cases with this start-up time")
    parser.add_argument("--service-ms", type=float, help="only cases with this service time")
    parser.add_argument("--workers", type=int, choices=WORKERS, help="only cases with so many workers a pod")
    parser.add_argument("--unsized", type=float, default=0.6, help="an unsized pod's throughput over a sized one's")
    parser.add_argument("--fresh", action="store_true", help="forget the cases that are already done")
    options = parser.parse_args()
    RESULTS.mkdir(parents=True, exist_ok=True)
    done = RESULTS / "cases.jsonl"
    if options.fresh or not done.exists():
        done.write_bytes(b"")
    found = all_traces(Path(options.traces) if options.traces else None)
    chosen = grid(found)
    wanted = (options.startup_s, options.service_ms and options.service_ms / 1000, options.workers)
    chosen = [c for c in chosen if all(w in {None, given} for w, given in zip(wanted, c[1:], strict=True))]
    if not options.all:
        random.Random(1).shuffle(chosen)
        chosen = chosen[: options.cases]
    cases = list(run_cases(chosen, options.unsized, done))
    text = summary(cases, RIVALS, sensitivity(found, options.unsized), second_dimension(found, options.unsized))
    (RESULTS / "summary.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
