"""The figures of a run: latency from the intended time, kinds kept apart, nothing made up for an empty run."""

import msgspec
import pytest

from corefit.load.record import Kind, Recorder, Sample, summarize


def sample(intended: float, done: float, kind: Kind = Kind.OK, detail: str = "") -> Sample:
    return Sample(intended_s=intended, sent_s=intended + 0.001, done_s=done, kind=kind, detail=detail)


def test_latency_counts_from_the_intended_time_and_not_from_the_send() -> None:
    late = Sample(intended_s=1.0, sent_s=3.0, done_s=3.5, kind=Kind.OK)
    assert late.latency_s == 2.5


def test_a_run_without_samples_has_no_latencies() -> None:
    summary = summarize([])
    assert (summary.sent, summary.p50_s, summary.p99_s, summary.late_p99_s) == (0, None, None, None)


def test_kinds_are_counted_apart_and_only_answers_have_latency() -> None:
    summary = summarize(
        [
            sample(0, 0.1),
            sample(0, 0.3),
            sample(0, 9.0, Kind.SHED, "503 with Retry-After"),
            sample(0, 9.0, Kind.ERROR, "status 500"),
            sample(0, 9.0, Kind.ERROR, "status 500"),
            sample(0, 9.0, Kind.WRONG, "label 3, not 8"),
        ]
    )
    assert (summary.sent, summary.ok, summary.shed, summary.error, summary.wrong) == (6, 2, 1, 2, 1)
    assert summary.lost == 3
    assert summary.max_s == pytest.approx(0.3)
    assert summary.details == {"503 with Retry-After": 1, "status 500": 2, "label 3, not 8": 1}


def test_a_generator_that_is_late_or_stands_still_is_short_of_cpu() -> None:
    quiet = summarize([sample(0, 0.1)])
    assert not quiet.starved
    assert msgspec.structs.replace(quiet, late_p99_s=0.03).starved
    recorder = Recorder()
    recorder.stall_s = 2.0
    assert recorder.summary().starved, "it may have sent nothing meanwhile"


def test_the_live_view_sees_only_what_ended_lately() -> None:
    recorder = Recorder()
    for at in (1.0, 2.0, 3.0):
        recorder.add(sample(at - 0.5, at))
    assert [s.done_s for s in recorder.ended_since(2.0)] == [2.0, 3.0]
    assert len(recorder) == 3
    assert recorder.summary().ok == 3
