"""The demo's arithmetic, its verdict and what it reads: all that needs no cluster."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
from rich.console import Console as RichConsole

from corefit.demo import picture
from corefit.demo.predictions import Accuracy, accuracy, expect, load_requests, payload
from corefit.demo.savings import hpa_replicas, integral, savings
from corefit.demo.settings import Settings
from corefit.demo.timeline import Point, ServiceView, Timeline, point, view_of
from corefit.demo.tools import StepFailed, Tools, documents, exported
from corefit.demo.verdict import verdict
from corefit.demo.view import Console, checks_table, compared, plain_line, point_table, summary_table
from corefit.load import Kind, Recorder, Sample
from corefit.load.record import summarize

ALL_RIGHT = Accuracy(rows=100, as_predicted=100, as_labelled=96)


def seen(at_s: float, *, pods: int = 1, ready: int | None = None, rate: float = 8.0) -> Point:
    view = ServiceView(wanted=pods, pods=pods, ready=pods if ready is None else ready, cost="USD 0.01")
    return Point(at_s=at_s, rate=rate, in_flight=1, service=view, p50_s=0.01, p99_s=0.1, shed=0, lost=0)


def recorded(*kinds: Kind) -> Recorder:
    recorder = Recorder()
    for number, kind in enumerate(kinds):
        recorder.add(Sample(intended_s=number, sent_s=number, done_s=number + 0.1, kind=kind, detail=kind.value))
    return recorder


def passed(points: list[Point], *kinds: Kind, right: Accuracy = ALL_RIGHT) -> dict[str, bool]:
    back_from_s = 2.0 if len(points) > 3 else 1.0
    return {c.what: c.passed for c in verdict(right, recorded(*kinds).summary(), points, 0.0, back_from_s)}


UP_AND_DOWN = [seen(0), seen(1, pods=3, ready=1), seen(2, pods=3), seen(3, pods=1)]


def test_the_demo_succeeds_when_answers_were_right_none_lost_and_replicas_rose_and_fell() -> None:
    assert all(passed(UP_AND_DOWN, Kind.OK, Kind.OK).values())


def test_an_honest_refusal_is_no_loss_and_is_counted() -> None:
    checks = verdict(ALL_RIGHT, recorded(Kind.OK, Kind.SHED).summary(), UP_AND_DOWN, 0.0, 2.0)
    (lost,) = [c for c in checks if c.what == "no request lost"]
    assert lost.passed
    assert "1 refused" in lost.detail


@pytest.mark.parametrize("kind", [Kind.ERROR, Kind.WRONG])
def test_one_lost_or_wrong_answer_fails_it(kind: Kind) -> None:
    assert not passed(UP_AND_DOWN, Kind.OK, kind)["no request lost"]


def test_no_answer_at_all_fails_it() -> None:
    assert not passed(UP_AND_DOWN, Kind.SHED)["no request lost"]


def test_a_wrong_prediction_fails_it() -> None:
    wrong = Accuracy(rows=100, as_predicted=99, as_labelled=96)
    assert not passed(UP_AND_DOWN, Kind.OK, right=wrong)["predictions right"]


@pytest.mark.parametrize(
    ("ready", "rose", "fell"),
    [
        ([1, 3, 3], True, False),
        ([1, 1, 1], False, False),
        ([3, 3, 1], False, True),
        ([0, 2, 1], False, True),
        ([], 0, 0),
    ],
)
def test_replicas_have_to_rise_and_to_fall(ready: list[int], rose: bool, fell: bool) -> None:
    checks = passed([seen(at, pods=count) for at, count in enumerate(ready)], Kind.OK)
    assert (checks["replicas rose"], checks["replicas fell"]) == (rose, fell)


def test_pods_that_came_before_the_load_rose_did_not_come_for_it() -> None:
    early = [seen(0), seen(1, pods=2), seen(2, pods=2), seen(3, pods=2), seen(4, pods=1)]
    checks = {c.what: c for c in verdict(ALL_RIGHT, recorded(Kind.OK).summary(), early, 2.0, 3.0)}
    assert not checks["replicas rose"].passed
    assert checks["replicas fell"].passed
    assert checks["replicas fell"].detail == "from 2 to 1 ready, 1 s after the load fell"


def test_replicas_that_stay_say_what_was_decided_last() -> None:
    held = msgspec.structs.replace(seen(9, pods=2).service, reason="LoadUp", message="0.30 of 0.25 workers busy")
    points = [seen(0), seen(1, pods=2), seen(2, pods=2), msgspec.structs.replace(seen(9), service=held)]
    checks = {c.what: c for c in verdict(ALL_RIGHT, recorded(Kind.OK).summary(), points, 0.0, 2.0)}
    assert not checks["replicas fell"].passed
    assert checks["replicas fell"].detail == (
        "2 ready 7 s after the load fell, 2 when it fell; the last decision: LoadUp: 0.30 of 0.25 workers busy"
    )


def test_accuracy_counts_missing_answers_as_wrong() -> None:
    assert accuracy([1, 2], [1, 2, 3], [1, 0, 3]) == Accuracy(rows=3, as_predicted=2, as_labelled=1)


def test_pod_seconds_count_pods_that_are_not_ready_too() -> None:
    points = [seen(0), seen(10, pods=3, ready=1), seen(20, pods=1)]
    saved = savings(points, cpu_s_a_request=0.01, pod_cores=0.25, bounds=(1, 4))
    assert saved.corefit == 10 * 1 + 10 * 3
    assert saved.static_peak == 20 * 3
    assert saved.against_peak == pytest.approx(1 / 3)


def test_a_run_of_no_length_saves_nothing() -> None:
    saved = savings([seen(0)], cpu_s_a_request=0.01, pod_cores=0.25, bounds=(1, 4))
    assert (saved.corefit, saved.against_peak, saved.against_hpa) == (0, 0, 0)


def test_the_hpa_rises_by_its_rule_in_steps_and_does_not_fall_within_its_window() -> None:
    points = [seen(at, rate=8 if at < 30 or at >= 120 else 60) for at in range(300)]
    series = hpa_replicas(points, 0.01, 0.25, (1, 4))
    assert series[0] == 1
    # 60/s of 10 ms are 0.6 cores of 0.25: 100 % seen of one pod gives 2, of two 3, and 80 % of three stays.
    assert (series[31], series[46], series[119]) == (2, 3, 3)
    assert series[-1] == 3


def test_the_hpa_falls_after_its_window() -> None:
    points = [seen(at, rate=60 if at < 60 else 1) for at in range(500)]
    assert hpa_replicas(points, 0.01, 0.25, (1, 4))[-1] == 1


def test_an_integral_holds_each_value_until_the_next() -> None:
    assert integral([seen(0), seen(2), seen(5)], [1, 4, 9]) == 1 * 2 + 4 * 3


def test_a_change_of_wanted_replicas_is_a_decision_once() -> None:
    timeline = Timeline()
    assert timeline.see(ServiceView(wanted=1), 0) is None
    made = timeline.see(ServiceView(wanted=3, reason="LoadUp", message="more"), 4.0)
    assert made is not None
    assert (made.at_s, made.replicas, made.reason) == (4.0, 3, "LoadUp")
    assert timeline.see(ServiceView(wanted=3, ready=3, reason="LoadUp", message="more"), 5.0) is None
    assert timeline.decisions == [made]


def test_replicas_have_fallen_when_fewer_serve_and_nothing_moves() -> None:
    timeline = Timeline()
    assert not timeline.has_fallen(0, 2)
    timeline.points = [seen(0), seen(1, pods=3), *[seen(at, pods=1) for at in range(5, 9)]]
    assert timeline.has_fallen(4, 2)
    assert not timeline.has_fallen(6, 2), "it fell before the load did"
    timeline.points.append(seen(9, pods=2, ready=1))
    assert not timeline.has_fallen(4, 2)


def test_more_than_another_way_is_called_more() -> None:
    assert (compared(0.25), compared(-0.83)) == ("Corefit took 25% less", "Corefit took 83% more")


def test_the_status_is_read_and_what_is_missing_is_zero() -> None:
    assert view_of({}) == ServiceView()
    decision = {"time": "t", "replicas": 2, "reason": "LoadUp", "message": "m"}
    status = {"desiredReplicas": 2, "replicas": 2, "readyReplicas": 1, "costPerHour": "USD 1", "lastDecision": decision}
    view = view_of({"status": status})
    assert (view.wanted, view.pods, view.ready, view.cost, view.reason) == (2, 2, 1, "USD 1", "LoadUp")


def test_cpu_of_the_pods_stands_beside_their_number_where_it_changes_in_place() -> None:
    view = view_of({"status": {"cpu": {"wanted": "1", "granted": "250m-500m"}}})
    now = point(1.0, 8.0, Recorder(), view)
    assert "replicas 0/0 x 250m-500m " in plain_line(now)
    assert " x " not in plain_line(point(1.0, 8.0, Recorder(), ServiceView()))


def test_a_point_has_the_latencies_of_the_last_seconds_and_the_counts_of_all() -> None:
    now = point(100.0, 8.0, recorded(Kind.OK, Kind.SHED, Kind.ERROR, Kind.WRONG), ServiceView())
    assert (now.p99_s, now.shed, now.lost) == (None, 1, 2)


def test_the_load_has_three_steps_and_the_middle_one_is_four_times_the_base() -> None:
    steps = Settings(root=Path(), output=Path(), base_rate=5).steps
    assert [step.rate for step in steps] == [5, 20, 5]


def test_the_load_leaves_a_minute_of_five_to_set_up_and_to_take_down(tmp_path: Path) -> None:
    steps = Settings(root=tmp_path, output=tmp_path).steps
    assert sum(step.duration_s for step in steps) <= 240, "even where replicas never fall"


def test_expected_scores_are_told_from_others() -> None:
    wrong = expect("scores", [1.0, 2.0])
    good = {"outputs": [{"name": "scores", "data": [1.001, 2.0]}]}
    assert wrong(json.dumps(good).encode()) is None
    bad = {"outputs": [{"name": "scores", "data": [1.0, 2.5]}]}
    assert wrong(json.dumps(bad).encode()) == "the scores are not this row's"
    assert "not an answer" in (wrong(b"<html>") or "")
    assert "not an answer" in (wrong(b'{"outputs": []}') or "")


def test_each_row_of_the_load_model_becomes_a_request_that_knows_its_answer() -> None:
    (request,) = load_requests({"input": "X", "output": "s", "rows": [[1, 2]], "scores": [[3.0]]})
    assert json.loads(request.body) == payload("X", [[1, 2]])
    assert request.wrong is not None
    assert request.wrong(b'{"outputs": [{"name": "s", "data": [3.0]}]}') is None


def test_the_shells_exports_are_followed() -> None:
    lines = "export KUBECONFIG='/a b/config'\nexport PATH=/x/bin:$PATH\n"
    changed = exported(lines, {"PATH": "/usr/bin", "HOME": "/h"})
    assert changed == {"PATH": "/x/bin:/usr/bin", "HOME": "/h", "KUBECONFIG": "/a b/config"}


async def test_documents_of_a_watch_are_told_apart() -> None:
    async def lines() -> AsyncIterator[bytes]:
        for line in b'{\n    "a": {\n    }\n}\n{\n    "a": 2\n}\n'.splitlines(keepends=True):
            yield line

    assert [document async for document in documents(lines())] == [{"a": {}}, {"a": 2}]


async def test_programs_are_found_by_the_given_path_and_failures_are_told(tmp_path: Path) -> None:
    tools = Tools(tmp_path, {"PATH": "/usr/bin:/bin"})
    assert tools.run("echo", "hello") == "hello\n"
    with pytest.raises(StepFailed, match="status 3: said"):
        tools.run("sh", "-c", "echo said; exit 3")
    with pytest.raises(StepFailed, match="not in PATH"):
        tools.run("no-such-program")
    with pytest.raises(StepFailed, match="ended"):
        _ = [document async for document in tools.stream("printf", '{\n"a": 1\n}\n')]


def test_the_cpu_of_a_pod_is_drawn_where_it_changes(tmp_path: Path) -> None:
    assert [picture.most_cores(text) for text in ("250m", "250m-1", "1500m-2")] == [0.25, 1.0, 2.0]
    grown = [msgspec.structs.replace(p, service=msgspec.structs.replace(p.service, cpu="250m-1")) for p in UP_AND_DOWN]
    for name, points in (("plain.png", UP_AND_DOWN), ("grown.png", grown)):
        picture.draw(tmp_path / name, points, [], recorded(Kind.OK), 0.2)
    assert (tmp_path / "plain.png").read_bytes() != (tmp_path / "grown.png").read_bytes()


def test_everything_can_be_shown_and_drawn(tmp_path: Path) -> None:
    points, recorder, timeline = UP_AND_DOWN, recorded(Kind.OK, Kind.SHED), Timeline()
    timeline.see(points[0].service, 0.0)
    timeline.see(points[1].service, 1.0)
    picture.draw(tmp_path / "demo.png", points, timeline.decisions, recorder, 0.2)
    assert (tmp_path / "demo.png").read_bytes().startswith(b"\x89PNG")
    saved = savings(points, cpu_s_a_request=0.01, pod_cores=0.25, bounds=(1, 4))
    rich = RichConsole(width=160, record=True, force_terminal=False)
    console = Console(rich)
    with console.stage("a stage"), console.live() as live:
        live.point(points[0])
        live.decision(timeline.decisions[0])
    console.summary(recorder.summary(), saved, verdict(ALL_RIGHT, recorder.summary(), points, 0.0, 2.0))
    text = rich.export_text()
    for part in ("==> a stage", "replicas 1/1", "3 replicas wanted", "22% less", "replicas rose", "96 as labelled"):
        assert part in text
    assert "p99 100.0 ms" in plain_line(points[0])
    for table in (point_table(points[0]), summary_table(summarize([]), saved), checks_table([])):
        assert table.columns


def test_a_quiet_command_that_fails_says_nothing_on_the_terminal(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    tools = Tools(tmp_path, {"PATH": "/usr/bin:/bin"})
    with pytest.raises(StepFailed):
        tools.run("cat", "/no/such/pod", quiet=True)
    assert capfd.readouterr() == ("", "")
