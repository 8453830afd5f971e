"""CPU beyond the request: what is counted, what follows from it, and what is said of it."""

import pytest
from unit.outcomes import Case

from corefit_core import burst
from corefit_core.burst import Usage
from corefit_core.report import Burst, ModelIdentity, PlanInForce, Report
from corefit_core.spec.decode import decode
from corefit_operator.collect import burst_window
from corefit_operator.reconcile.state import ResourceState
from corefit_operator.status.conditions.burst import BURST
from corefit_runtime.telemetry.burst import BurstMeter

SERVICE = decode({"metadata": {"name": "a", "namespace": "n"}, "spec": {"model": {"uri": "http://m/a.onnx"}}})
NOTHING = Burst(request_millicores=500)


def _used(cpu_s: float, waited_s: float = 0.0, throttled_s: float = 0.0) -> Usage:
    return Usage(cpu_s=cpu_s, waited_s=waited_s, throttled_s=throttled_s)


@pytest.mark.parametrize(
    ("used", "lent", "short"),
    [
        (_used(0.4), 0.0, 0.0),  # no more than the request was wanted: nothing is learnt
        (_used(0.3, waited_s=0.1), 0.0, 0.0),
        (_used(1.7, waited_s=0.1), 1.2, 0.1),  # an idle node
        (_used(0.5, waited_s=1.5), 0.0, 1.5),  # a busy one: the request is had, and no more
        (_used(0.5, waited_s=1.5, throttled_s=1.5), 0.0, 0.0),  # its own quota
        (_used(0.4, waited_s=1.0), 0.0, 1.0),  # not even the request, for a moment
        (_used(0.5, waited_s=0.2, throttled_s=0.9), 0.0, 0.0),  # where the kernel leaves throttling out of the wait
    ],
)
def test_what_a_second_says(used: Usage, lent: float, short: float) -> None:
    after = burst.counted(NOTHING, used, 1.0)
    assert (after.lent_seconds, after.short_seconds) == (pytest.approx(lent), pytest.approx(short))


def test_no_time_says_nothing() -> None:
    assert burst.counted(NOTHING, _used(1.0), 0.0) == NOTHING


def test_what_was_used_since_is_each_difference_for_itself() -> None:
    later, earlier = _used(9.0, waited_s=7.0, throttled_s=4.0), _used(2.0, waited_s=3.0, throttled_s=1.0)
    assert later.since(earlier) == _used(7.0, waited_s=4.0, throttled_s=3.0)


def _stretch(lent: float, short: float) -> tuple[Burst, Burst]:
    later = Burst(request_millicores=500, lent_seconds=3.0 + lent, short_seconds=1.0 + short)
    return Burst(request_millicores=500, lent_seconds=3.0, short_seconds=1.0), later


@pytest.mark.parametrize(
    ("lent", "short", "lending"),
    [(0, 0, "NotNeeded"), (8, 0, "Available"), (0, 4, "Scarce"), (5, 5, "Available"), (4, 5, "Scarce")],
)
def test_a_node_lends_where_more_was_had_than_was_missed(lent: float, short: float, lending: str) -> None:
    found = burst.verdict([_stretch(lent, short)], 10.0)
    assert (found.lending, found.lent_cores, found.short_cores) == (lending, lent / 10, short / 10)


def test_pods_of_a_service_are_added_up_and_one_that_began_anew_takes_nothing_away() -> None:
    found = burst.verdict([_stretch(4, 1), _stretch(6, 2), _stretch(-3, -1)], 10.0)
    assert (found.lending, found.lent_cores, found.short_cores) == ("Available", 1.0, 0.3)


def test_the_meter_counts_from_look_to_look() -> None:
    meter = BurstMeter(500, 10.0, _used(3.0, waited_s=1.0))
    meter.look(11.0, _used(4.0, waited_s=1.0))
    meter.look(12.0, _used(4.1, waited_s=1.0))
    meter.look(13.0, _used(4.7, waited_s=1.8))
    assert meter.statement.lent_seconds == pytest.approx(0.5 + 0.1)
    assert meter.statement.short_seconds == pytest.approx(0.8)


def _report(lent: float, short: float, boot: str = "b") -> Report:
    plan = PlanInForce(grant_millicores=2000, workers=2, threads_per_worker=1, queue_depth=9)
    told = Burst(request_millicores=500, lent_seconds=lent, short_seconds=short)
    return Report(boot_id=boot, state="Ready", model=ModelIdentity(name="a"), plan=plan, clock_s=1.0, burst=told)


@pytest.mark.parametrize(
    ("after", "status", "reason"),
    [
        (_report(5.0, 2.0), "Unknown", "NotNeeded"),
        (_report(11.0, 3.0), "True", "CPUAvailable"),
        (_report(6.0, 9.0), "False", "CPUScarce"),
    ],
)
def test_a_verdict_is_over_ten_seconds_and_is_kept_until_the_next(after: Report, status: str, reason: str) -> None:
    memory = burst_window.BurstWindow()
    assert burst_window.look({"a": _report(5.0, 2.0)}, memory, 100.0) is None
    assert burst_window.look({"a": after}, memory, 105.0) is None
    seen = burst_window.look({"a": after}, memory, 110.0)
    assert seen is not None
    said = BURST.value(SERVICE, Case(burst=seen).outcome(SERVICE))
    assert said is not None
    assert said[:3] == ("Burst", status, reason)
    assert burst_window.look({}, memory, 111.0) == seen


def test_a_process_that_is_new_says_nothing_of_the_time_before_it() -> None:
    memory = burst_window.BurstWindow()
    burst_window.look({"a": _report(5.0, 2.0), "b": _report(0.0, 0.0)}, memory, 0.0)
    seen = burst_window.look({"a": _report(90.0, 0.0, boot="c"), "b": _report(10.0, 0.0)}, memory, 10.0)
    assert seen is not None
    assert seen.lent_cores == pytest.approx(1.0)
    assert burst_window.look({"d": _report(1.0, 1.0)}, memory, 20.0) is None


def test_what_is_remembered_of_a_resource_begins_without_a_verdict() -> None:
    assert ResourceState(uid="u").observation.burst == burst_window.BurstWindow()
