"""The report: what is encoded is decoded, differences are exact, quantiles are within a bucket."""

import itertools
from collections.abc import Callable

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from corefit_core import report as reports
from corefit_core.errors import InvalidInput
from corefit_core.histogram import BOUNDS_S, Histogram, bucket, place
from corefit_core.report import Burst, Counters, ModelIdentity, PlanInForce, Report

durations = st.lists(st.floats(0, 80), max_size=60)


def histogram(seconds: list[float]) -> Histogram:
    counts = [0] * (len(BOUNDS_S) + 1)
    for s in seconds:
        counts[bucket(s)] += 1
    return Histogram(counts=tuple(counts), sum_s=sum(seconds), sum_sq_s2=sum(s * s for s in seconds))


def report() -> Report:
    plan = PlanInForce(grant_millicores=1000, workers=1, threads_per_worker=1, queue_depth=3)
    counters = Counters(arrivals=3, admitted=2, rejected={"queue_full": 1})
    return Report(boot_id="b", state="Ready", model=ModelIdentity(name="m"), plan=plan, clock_s=1.5, counters=counters)


def test_there_and_back() -> None:
    assert reports.decode(reports.encode(report())) == report()


def test_unknown_fields_are_ignored() -> None:
    body = {**msgspec.to_builtins(report()), "new_in_version_1": 3}
    assert reports.decode(msgspec.json.encode(body)) == report()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{}",
        b"\xff",
        b"[" * 10_000,
        b" " * (reports.MAX_BYTES + 1),
        b'{"clock_s": -1}',
        b'{"version": 1, "pod_uid": "\xff"}',
        reports.encode(report()).replace(b'"arrivals":3', b'"arrivals":1' + b"0" * 400),
        reports.encode(report()).replace(b'"queue_full":1', b'"queue_full":1' + b"0" * 400),
        reports.encode(report()).replace(b'"arrivals":3', b'"arrivals":%d' % 2**53),
        reports.encode(report()).replace(b'"clock_s":1.5', b'"clock_s":1e300'),
        reports.encode(report()).replace(b'"clock_s":1.5', b'"clock_s":1' + b"0" * 400),
    ],
)
def test_what_is_no_report_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidInput):
        reports.decode(body)


def test_another_version_is_refused() -> None:
    with pytest.raises(InvalidInput, match="version 2"):
        reports.decode(reports.encode(msgspec.structs.replace(report(), version=2)))


@given(durations, durations)
def test_the_difference_of_two_snapshots_is_what_came_between(first: list[float], then: list[float]) -> None:
    early, late = histogram(first), histogram(first + then)
    between = late.minus(early)
    assert between.counts == histogram(then).counts
    assert between.sum_s == pytest.approx(sum(then), abs=1e-9)
    assert early.plus(between).counts == late.counts


def test_a_count_that_went_backwards_is_another_process() -> None:
    with pytest.raises(InvalidInput, match="backwards"):
        histogram([1.0]).minus(histogram([1.0, 1.0]))


@given(durations.filter(bool), st.floats(0, 1))
def test_a_quantile_is_within_its_bucket(seconds: list[float], q: float) -> None:
    found = histogram(seconds).quantile_s(q)
    rank = max(0, min(len(seconds) - 1, -int(-q * len(seconds) // 1) - 1))
    exact = bucket(sorted(seconds)[rank])
    assert found is not None
    assert abs(bucket(found * (1 - 1e-12)) - exact) <= 1


@given(st.floats(1e-6, 200.0))
def test_the_place_of_a_duration_is_the_quantile_of_its_bucket(seconds: float) -> None:
    index, share = place(seconds)
    assert index == bucket(seconds)
    assert 0 <= share <= 1
    if BOUNDS_S[0] <= seconds <= BOUNDS_S[-1]:
        assert Histogram(counts=(0,) * index + (1000,)).quantile_s(share) == pytest.approx(seconds, rel=1e-6)


@given(durations.filter(bool))
def test_moments(seconds: list[float]) -> None:
    mean = sum(seconds) / len(seconds)
    found = histogram(seconds)
    assert found.mean_s == pytest.approx(mean)
    assert found.variance_s2 == pytest.approx(sum((s - mean) ** 2 for s in seconds) / len(seconds), abs=1e-6)


def test_nothing_observed_has_no_moments() -> None:
    empty = Histogram()
    assert (empty.mean_s, empty.variance_s2, empty.quantile_s(0.5), empty.count) == (None, None, None, 0)


def test_a_report_full_of_causes_is_refused() -> None:
    """One of 64 KiB held a megabyte for as long as its pod was there."""
    causes = {f"{number:x}": 1 for number in range(5000)}
    body = reports.encode(msgspec.structs.replace(report(), counters=Counters(rejected=causes)))
    assert len(body) < reports.MAX_BYTES
    with pytest.raises(InvalidInput):
        reports.decode(body)


def test_what_is_above_the_last_bound_is_in_a_bucket_of_its_own() -> None:
    last = len(BOUNDS_S)
    assert (bucket(BOUNDS_S[-1]), bucket(100.0), place(100.0)) == (last - 1, last, (last, 1.0))
    assert histogram([100.0]).quantile_s(0.5) == histogram([100.0] * 3).quantile_s(1.0) == BOUNDS_S[-1]


def test_buckets_are_a_fifth_wide_and_reach_from_a_tenth_of_a_millisecond_to_a_minute_and_a_half() -> None:
    """Part of version 1: histograms of pods of another release are added to and taken from these."""
    assert (BOUNDS_S[0], len(BOUNDS_S)) == (1e-4, 80)
    assert BOUNDS_S[-1] == pytest.approx(1e-4 * 2 ** (79 / 4))
    assert {round(after / before, 9) for before, after in itertools.pairwise(BOUNDS_S)} == {round(2**0.25, 9)}


def test_durations_within_a_bucket_are_spread_log_linearly() -> None:
    """The geometric mean of its bounds is in the middle of a bucket; the first begins at half of its upper bound."""
    one = Histogram(counts=(0, 0, 0, 10))
    assert one.quantile_s(0.5) == pytest.approx((BOUNDS_S[2] * BOUNDS_S[3]) ** 0.5)
    assert one.quantile_s(1.0) == pytest.approx(BOUNDS_S[3])
    first = Histogram(counts=(10,))
    assert first.quantile_s(0.0) == pytest.approx(BOUNDS_S[0] / 2)
    assert first.quantile_s(0.5) == pytest.approx(BOUNDS_S[0] / 2**0.5)
    assert place(0.0) == (0, 0.0)
    assert place(BOUNDS_S[0] / 8) == (0, 0.0)


def test_a_quantile_counts_the_buckets_below() -> None:
    """Four in each of two buckets, an empty one between: the half ends the first, 3/4 halves the second."""
    found = Histogram(counts=(0, 4, 0, 4))
    assert found.quantile_s(0.5) == pytest.approx(BOUNDS_S[1])
    assert found.quantile_s(0.75) == pytest.approx((BOUNDS_S[2] * BOUNDS_S[3]) ** 0.5)


@given(durations, durations)
def test_sums_and_squares_are_added_and_taken_away_as_counts_are(first: list[float], then: list[float]) -> None:
    early, late = histogram(first), histogram(then)
    both = early.plus(late)
    assert (both.count, both.sum_s) == (len(first) + len(then), early.sum_s + late.sum_s)
    assert both.sum_sq_s2 == early.sum_sq_s2 + late.sum_sq_s2
    assert both.minus(early).sum_sq_s2 == pytest.approx(late.sum_sq_s2, abs=1e-6)


def test_of_two_histograms_either_may_be_the_shorter_one() -> None:
    short, long = Histogram(counts=(1,)), Histogram(counts=(2, 0, 3))
    assert short.plus(long).counts == long.plus(short).counts == (3, 0, 3)
    assert long.minus(short).counts == (1, 0, 3)
    with pytest.raises(InvalidInput):
        short.minus(long)


def test_a_sum_that_fell_by_rounding_is_no_negative_time() -> None:
    fell = Histogram(counts=(1,), sum_s=0.9, sum_sq_s2=0.8).minus(Histogram(counts=(1,), sum_s=1.0, sum_sq_s2=1.0))
    assert (fell.sum_s, fell.sum_sq_s2) == (0.0, 0.0)
    assert Histogram(counts=(2,), sum_s=2.0, sum_sq_s2=1.9).variance_s2 == 0.0


def test_a_queue_is_long_where_a_request_waits_for_more_than_half_of_the_objective() -> None:
    assert not reports.is_long(0.1, 0.2)
    assert reports.is_long(0.1001, 0.2)


def test_refusals_are_counted_whatever_their_cause() -> None:
    assert Counters(rejected={"queue_full": 2, "deadline": 3}).rejected_total == 5
    assert Counters().rejected_total == 0


def test_a_report_of_just_the_size_that_is_read_is_read() -> None:
    body = reports.encode(report())
    assert reports.decode(body + b" " * (reports.MAX_BYTES - len(body))) == report()


MINIMAL = (
    b'{"boot_id":"b","state":"Ready","model":{"name":"m"},"clock_s":1.5,'
    b'"plan":{"grant_millicores":1000,"workers":1,"threads_per_worker":1,"queue_depth":3}}'
)
"""What a pod of version 1 sends that has served nothing: what is zero or empty is left out."""


def test_what_a_report_leaves_out_is_nothing() -> None:
    """Pods of other releases are read: a default that is no zero would be requests that never came."""
    found = reports.decode(MINIMAL)
    assert (found.version, found.model.version, found.startup_s, found.burst) == (1, "1", 0.0, None)
    for part in (found.counters, found.gauges, found.computed, found.queue_wait, found.service_time, found.total):
        assert not any(msgspec.structs.astuple(part)), part
    assert (found.plan.chunk_rows, found.plan.batch_rows, found.profile, found.notes) == (0, 0, (), {})
    assert (Burst(request_millicores=500).lent_seconds, Burst(request_millicores=500).short_seconds) == (0.0, 0.0)
    assert msgspec.json.decode(reports.encode(found)) == msgspec.json.decode(MINIMAL)


MOST = {
    "arrivals": ("counters", 2**53 - 1),
    "busy_worker_seconds": ("counters", 1e12),
    "throttled_periods": ("counters", 2**53 - 1),
    "queued": ("gauges", 2**53 - 1),
    "wait_seconds": ("gauges", 1e12),
    "workers": ("plan", 2**31 - 1),
    "queue_depth": ("plan", 2**31 - 1),
    "batch_rows": ("plan", 2**31 - 1),
    "sum_s": ("service_time", 1e12),
    "sum_sq_s2": ("service_time", 1e18),
}
"""The largest number that each kind of field may hold."""


def _with(part: str, field: str, value: object) -> bytes:
    body = msgspec.json.decode(MINIMAL)
    return msgspec.json.encode({**body, part: {**body.get(part, {}), field: value}})


@pytest.mark.parametrize("field", MOST)
def test_each_number_is_bounded_on_both_sides(field: str) -> None:
    """What a pod claims enters sums, squares and a status that the API server must take."""
    part, most = MOST[field]
    assert getattr(getattr(reports.decode(_with(part, field, most)), part), field) == most
    assert getattr(getattr(reports.decode(_with(part, field, 0)), part), field) == 0
    for beyond in (-1, most + 1 if isinstance(most, int) else most * 1.001):
        with pytest.raises(InvalidInput):
            reports.decode(_with(part, field, beyond))


POINT = {"threads": 1, "rows": 1, "seconds": 0.1}


@pytest.mark.parametrize(("field", "most"), [("threads", 2**31 - 1), ("rows", 2**53 - 1), ("seconds", 1e12)])
def test_a_point_of_a_profile_is_bounded(field: str, most: float) -> None:
    def read(value: float) -> Report:
        return reports.decode(
            msgspec.json.encode({**msgspec.json.decode(MINIMAL), "profile": [POINT | {field: value}]})
        )

    assert getattr(read(most).profile[0], field) == most
    for beyond in (-1 if field == "seconds" else 0, most + 1 if field != "seconds" else 2e12):
        with pytest.raises(InvalidInput):
            read(beyond)


@pytest.mark.parametrize(
    ("field", "most", "of"),
    [
        ("profile", 256, lambda n: [POINT] * n),
        ("notes", 32, lambda n: {str(i): "" for i in range(n)}),
        ("counters", 64, lambda n: {"rejected": {str(i): 1 for i in range(n)}}),
        ("total", len(BOUNDS_S) + 1, lambda n: {"counts": [1] * n}),
    ],
)
def test_lists_of_a_report_have_an_end(field: str, most: int, of: Callable[[int], object]) -> None:
    body = msgspec.json.decode(MINIMAL)
    assert reports.decode(msgspec.json.encode({**body, field: of(most)})).boot_id == "b"
    with pytest.raises(InvalidInput):
        reports.decode(msgspec.json.encode({**body, field: of(most + 1)}))


def test_a_count_goes_as_far_as_a_float_holds_it_exactly() -> None:
    decoder = msgspec.json.Decoder(Histogram)
    assert decoder.decode(b'{"counts":[9007199254740991]}').count == 2**53 - 1
    for count in (b"9007199254740992", b"-1"):
        with pytest.raises(msgspec.ValidationError):
            decoder.decode(b'{"counts":[%b]}' % count)
