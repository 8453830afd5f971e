"""The transcript in docs has the form of what the day's code prints; `make demo-docs` puts a run there."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from corefit.demo.alone import Driven, sized
from corefit.demo.predictions import Accuracy
from corefit.demo.savings import Savings
from corefit.demo.timeline import Decided, Point, ServiceView
from corefit.demo.transcript import PAGE, transcript_of, with_transcript
from corefit.demo.verdict import verdict
from corefit.demo.view import LiveView, checks_table, plain_line, summary_table
from corefit.load.record import summarize
from corefit_core.report import ModelIdentity, PlanInForce, Report

ROOT = Path(__file__).parents[2]
DEMO = ROOT / "cli/src/corefit/demo"
TRANSCRIPT = transcript_of((ROOT / PAGE).read_text())
LINES = TRANSCRIPT.splitlines()
FIGURE = re.compile(r"\d+(\.\d+)?(m\b| ms\b)?|-(?= )")


def shape(line: str) -> str:
    """A line without its figures and their width."""
    return " ".join(FIGURE.sub("0", line).split())


def _stages() -> Iterator[re.Pattern[str]]:
    """What the code says at the beginning of each stage."""
    for path in (DEMO / "program.py", DEMO / "stage.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "stage":
                yield re.compile("".join(_pattern(node.args[0])))


def _pattern(node: ast.expr) -> Iterator[str]:
    if isinstance(node, ast.JoinedStr):
        for part in node.values:
            yield re.escape(part.value) if isinstance(part, ast.Constant) else ".+"
    elif isinstance(node, ast.BinOp):
        yield from _pattern(node.left)
        yield from _pattern(node.right)
    else:
        yield re.escape(node.value) if isinstance(node, ast.Constant) else ".+"


def test_the_stages_are_those_of_the_code() -> None:
    titles = [line.removeprefix("==> ") for line in LINES if line.startswith("==> ")]
    stages = list(_stages())
    assert [title for title in titles if not any(stage.fullmatch(title) for stage in stages)] == []
    assert [stage.pattern for stage in stages if not any(stage.fullmatch(title) for title in titles)] == []


def test_each_second_has_the_figures_that_are_printed_today() -> None:
    view = ServiceView(wanted=1, pods=1, ready=1, cpu="250m", cost="0.0112 USD")
    now = Point(at_s=1.0, rate=8.0, in_flight=0, service=view, p50_s=0.01, p99_s=0.01, shed=0, lost=0)
    seconds = [line for line in LINES if re.match(r" *\d+ s  load ", line)]
    assert len(seconds) > 10
    assert {shape(line) for line in seconds} == {shape(plain_line(now))}


def test_decisions_are_printed_as_today() -> None:
    said: list[str] = []
    made = Decided(at_s=1.0, replicas=2, reason="LoadUp", message="why")

    class Recording:
        def say(self, text: str) -> None:
            said.append(text)

    LiveView(Recording(), None).decision(made)  # type: ignore[arg-type]
    beginning = re.escape(shape(said[0]).removesuffix("LoadUp: why"))
    decided = [line for line in LINES if "replicas wanted: " in line]
    assert any("LoadUp" in line for line in decided)
    assert any("LoadDown" in line for line in decided)
    assert all(re.match(rf"{beginning}[A-Z]\w+: ", shape(line)) for line in decided)


def test_the_tables_have_the_rows_of_today() -> None:
    rows = [cells[1].strip() for line in LINES if len(cells := re.split("[│┃]", line)) > 2]
    load = summarize([])
    saved = Savings(seconds=1, corefit=1, static_peak=1, hpa=1)
    checks = verdict(Accuracy(rows=1, as_predicted=1, as_labelled=1), load, [], 0.0, 1.0)
    labels = [
        str(cell) for table in (summary_table(load, saved), checks_table(checks)) for cell in table.columns[0]._cells
    ]
    assert [row for row in rows if row and row != "check"] == labels


def test_the_runtime_alone_is_shown_as_today() -> None:
    plan = PlanInForce(grant_millicores=100, workers=1, threads_per_worker=1, queue_depth=1)
    report = Report(boot_id="b", state="Ready", model=ModelIdentity(name="m"), plan=plan, clock_s=0)
    got = Driven(seconds=1.0, latencies_s=[0.001], refused=0, cpu_seconds=0.1)
    assert f"quota 0: {shape(sized(report))}, 0 a run" in {shape(line) for line in LINES}
    assert shape(f"4 clients get {got}") in {shape(line) for line in LINES}


def test_every_check_passed_and_a_run_replaces_the_whole_of_it() -> None:
    verdicts = [cells[2].strip() for line in LINES if len(cells := line.split("│")) == 5]
    assert set(verdicts) <= {"yes", ""}
    assert "yes" in verdicts
    page = "a\n```console\n$ make demo\nold\n```\nb\n```console\nother\n```\n"
    changed = with_transcript(page, "make: x\n==> new  \nLoading a.tar ...\nend\n")
    assert changed == "a\n```console\n$ make demo\n==> new\nend\n```\nb\n```console\nother\n```\n"
    assert transcript_of(changed) == "==> new\nend\n"
