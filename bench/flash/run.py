"""`make bench-flash`: a flash crowd on a real cluster, met by pods, by CPU in place, by HPAs, by limits above requests.

    python bench/flash/run.py [--crowd far|8|16] [--only a b ...] [--quick] [--keep]

One service at a time: a step to four times the load from one moment to the next, then a minute of a bursty trace;
`crowds` says how much of it, and on which pods. What counts: requests within the objective, core-seconds requested,
time until p99 is back within it. A trial in which the load generator itself was late is thrown away, counted, and made
again once. Results are kept by crowd and school, so a run of some adds to the others; the table and the picture are
made from all.
"""

import argparse
import os
import sys
from pathlib import Path
from typing import Final

import ahead
import figures
import msgspec
import picture
import yaml
from crowds import CROWDS, Crowd
from figures import Figures, Second
from rich.console import Console
from rich.table import Table
from schools import FAR, REPLICAS, School, far, schools
from trial import NAMESPACE, Stage, measure

from corefit.demo import stage as demo
from corefit.demo.tools import Tools

ROOT: Final = Path(__file__).parents[2]
RESULTS: Final = ROOT / "bench/results/flash"
CLUSTER: Final = os.environ.get("COREFIT_TEST_CLUSTER", "flash")
OBJECTIVE_S: Final = 0.4
LATE_S: Final = 0.05
"""A generator whose 99th percentile is later than an eighth of the objective measures itself."""
TARGETS: Final = (30, 50, 70)
PROGRAMS: Final = ROOT / "bench/flash"


class Trial(msgspec.Struct, frozen=True, kw_only=True):
    """What is kept of a school."""

    key: str
    title: str
    phases: list[Figures]
    seconds: list[Second]
    thrown_away: int
    disturbed: bool
    stolen_cores: float


def main() -> int:
    """Measures, and writes what it found."""
    parser = argparse.ArgumentParser(description="a flash crowd on a real cluster")
    parser.add_argument("--only", nargs="+", metavar="SCHOOL", help="a b c30 c50 c70 d e b+ e+")
    parser.add_argument("--quick", action="store_true", help="short, to see that it runs; results are not kept")
    parser.add_argument("--tries", type=int, default=2, help="until one is not disturbed (2)")
    parser.add_argument("--keep", action="store_true", help="leave the cluster")
    parser.add_argument("--crowd", choices=CROWDS, default=next(iter(CROWDS)), help="which load, on which pods (far)")
    parser.add_argument("--draw", action="store_true", help="only the table and the picture, from the results")
    arguments = parser.parse_args()
    crowd = CROWDS[arguments.crowd]
    if not arguments.draw:
        _measured(crowd, arguments)
    if not arguments.quick:
        show(crowd)
    return 0


def _measured(crowd: Crowd, arguments: argparse.Namespace) -> None:
    tools = demo.environment(ROOT)
    if arguments.quick:
        crowd = msgspec.structs.replace(crowd, settle_s=8, peak_s=15, rest_s=2)
    try:
        hpas = arguments.only is None or any(key[0] in "cd" for key in arguments.only)
        stage, contenders = _set_up(tools, crowd, hpas=hpas)
        for school in contenders:
            if arguments.only is None or school.key in arguments.only:
                trial = _trial(stage, school, crowd, arguments.tries)
                if not arguments.quick:
                    _keep(trial, _folder(crowd))
    finally:
        if not arguments.keep:
            tools.run("corefit-devcluster", "down", "--name", CLUSTER)


def _set_up(tools: Tools, crowd: Crowd, *, hpas: bool) -> tuple[Stage, list[School]]:
    stage = Stage(demo.bare(tools, CLUSTER, NAMESPACE, *(["--metrics-server"] if hpas else [])))
    ahead.control_plane(CLUSTER, os.environ)
    if crowd.download_s:
        stage.apply(far(PROGRAMS / "far_source.py", _models(stage), crowd.download_s))
        stage.kubectl("wait", "--for=condition=Ready", f"pod/{FAR}", "--timeout=240s")
    example = yaml.safe_load((ROOT / "examples/load-model/inferenceservice.yaml").read_text())
    return stage, schools(crowd, example, PROGRAMS / "unsized_server.py", TARGETS)


def _models(stage: Stage) -> str:
    """The ConfigMap of the examples' models; its name carries a hash."""
    names = stage.kubectl("get", "configmaps", "--output", "name").split()
    return next(name.removeprefix("configmap/") for name in names if "/models-" in name)


def _trial(stage: Stage, school: School, crowd: Crowd, tries: int) -> Trial:
    thrown_away = 0
    while True:
        print(f"{school.key}: {school.title}", file=sys.stderr, flush=True)
        seen = measure(stage, school, crowd, ROOT)
        found = [figures.of(phase, seen.samples, seen.requested, OBJECTIVE_S) for phase in crowd.phases()]
        disturbed = max(each.late_p99_s for each in found) > LATE_S
        print(f"  {seen.stolen_cores:.2f} cores stolen", file=sys.stderr)
        for each in found:
            print(f"  {each}", file=sys.stderr, flush=True)
        if not disturbed or thrown_away + 1 >= tries:
            break
        thrown_away += 1
    return Trial(
        key=school.key,
        title=school.title,
        phases=found,
        seconds=figures.seconds(seen.samples, seen.requested, OBJECTIVE_S),
        thrown_away=thrown_away,
        disturbed=disturbed,
        stolen_cores=seen.stolen_cores,
    )


def _folder(crowd: Crowd) -> Path:
    """Where results of that crowd are kept."""
    return RESULTS / crowd.key


def _keep(trial: Trial, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{trial.key}.json").write_bytes(msgspec.json.format(msgspec.json.encode(trial)) + b"\n")


def show(crowd: Crowd) -> None:
    """The table, and the picture, of all schools there are results of in that crowd."""
    # Those beside a busy neighbour are another question, and come last.
    paths = sorted(_folder(crowd).glob("*.json"), key=lambda path: ("+" in path.stem, path.stem))
    trials = [msgspec.json.decode(path.read_bytes(), type=Trial) for path in paths]
    table = Table(title=f"p99 within {1000 * OBJECTIVE_S:.0f} ms; at most {REPLICAS} pods", title_justify="left")
    for heading in (
        "",
        "school",
        "load",
        "in time %",
        "refused",
        "lost",
        "cores before",
        "core-seconds",
        "back, for good, s",
        "generator late",
    ):
        table.add_column(heading)
    for trial in trials:
        for each in trial.phases:
            back = "-" if each.phase != "step" else f"{_seconds(each.back_s)}, {_seconds(each.stays_s)}"
            late = f"p99 {1000 * each.late_p99_s:.0f} ms" + (" (disturbed)" if trial.disturbed else "")
            cells = (
                f"{100 * each.attainment:.2f}",
                str(each.refused),
                str(each.lost),
                "-" if each.cores_before is None else f"{each.cores_before:.2f}",
                f"{each.core_seconds:.1f}",
                back,
            )
            table.add_row(trial.key, trial.title, each.phase, *cells, late)
    console = Console(width=None if os.isatty(1) else 160)
    console.print(table)
    console.print(f"{sum(t.thrown_away for t in trials)} trials thrown away because the load generator was late")
    picture.draw(ROOT / f"docs/pictures/flash-{crowd.key}.png", trials, crowd)


def _seconds(value: float | None) -> str:
    return "never" if value is None else f"{value:.1f}"


if __name__ == "__main__":
    raise SystemExit(main())
