"""The simulator's traces: which files are read as what, and what is refused rather than misread."""

import gzip
from pathlib import Path

import msgspec
import numpy as np
import pytest

from corefit.simulate import traces
from corefit_core.errors import InvalidInput
from corefit_core.report import Counters, ModelIdentity, PlanInForce, Report


def read(folder: Path, text: str | bytes, name: str = "trace", scale: float = 1.0) -> traces.Trace:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return traces.read(path, scale)


# --- what is read ---------------------------------------------------------------------------------------------


def test_counts(tmp_path: Path) -> None:
    trace = read(tmp_path, "3\n0\n2\n")
    assert (trace.duration_s, np.floor(trace.arrivals).tolist()) == (3.0, [0, 0, 0, 2, 2])
    assert len(read(tmp_path, "3\n0\n2\n", scale=10).arrivals) == 50


def test_timestamps_gzipped(tmp_path: Path) -> None:
    rows = gzip.compress(b"TIMESTAMP,x\n2023-11-16 18:15:46.6805900,1\n2023-11-16 18:15:50.9951690,2\n")
    trace = read(tmp_path, rows, "times.csv.gz")
    assert trace.arrivals.tolist() == pytest.approx([0.0, 4.314579])
    assert len(read(tmp_path, rows, "times.csv.gz", scale=3).arrivals) == 6


@pytest.mark.parametrize(
    "later",
    [
        "2024-01-01T00:00:01.25Z",
        "2024-01-01T00:00:01.250+00:00",
        "2024-01-01T01:00:01.250000000+01:00",
        "2024-01-01 00:00:01,25",
        "1704067201.25",
    ],
)
def test_times_of_any_zone_and_precision(tmp_path: Path, later: str) -> None:
    trace = read(tmp_path, f'time\n2024-01-01T00:00:00\n"{later}"\n')
    assert trace.arrivals.tolist() == pytest.approx([0.0, 1.25], abs=1e-6)


def test_iso_times_in_a_column_of_any_name(tmp_path: Path) -> None:
    assert len(read(tmp_path, "TimeGenerated,size\n2024-01-01,1\n2024-01-01T00:00:09Z,7\n").arrivals) == 2


@pytest.mark.parametrize("text", ["20\n30\n", "timestamp\n0\n1.5\n"])
def test_a_byte_order_mark_changes_nothing(tmp_path: Path, text: str) -> None:
    plain, marked = read(tmp_path, text), read(tmp_path, "\ufeff" + text)
    assert (marked.duration_s, marked.arrivals.tolist()) == (plain.duration_s, plain.arrivals.tolist())


def test_a_recording_of_reports(tmp_path: Path) -> None:
    plan = PlanInForce(grant_millicores=1000, workers=1, threads_per_worker=1, queue_depth=3)
    lines = []
    for at, boot, arrivals in ((0.0, "a", 5), (2.0, "a", 25), (2.0, "b", 0), (4.0, "b", 10)):
        report = Report(
            boot_id=boot,
            state="Ready",
            model=ModelIdentity(name="m"),
            plan=plan,
            clock_s=at,
            counters=Counters(arrivals=arrivals),
        )
        lines.append(msgspec.json.encode(traces.Recorded(at, "pod", report)))
    trace = read(tmp_path, b"\n".join(lines), "recording.jsonl")
    assert trace.duration_s == 4.0
    assert np.bincount(trace.arrivals.astype(int)).tolist() == [10, 10, 5, 5]


# --- what is refused ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "empty"),
        ("1\nx\n", "line 2"),
        ("1\n-2\n", "line 2"),
        ("time\nnoon\n", "row 1 has 'noon'"),
        ("time,x\n1,2\n\n,3\n", "row 2 has ''"),
        ("time\n", "no requests"),
        ("{}\n", "recording"),
        ("timestamp\n" + 200_000 * "9", "line 2: field larger"),
        (b"\xff\xfe1\x000\x00", "can't decode"),
    ],
)
def test_a_broken_trace_is_explained(tmp_path: Path, text: str | bytes, says: str) -> None:
    with pytest.raises(InvalidInput, match=says):
        read(tmp_path, text)


@pytest.mark.parametrize(
    "text",
    [
        "timestamp,count\n0,120\n60,130\n",
        "time,Requests\n2024-01-01T00:00:00Z,120\n2024-01-01T00:01:00Z,130\n",
        "requests\n120\n130\n5\n",
        "load\n120\n130\n5\n",
        "0,120\n60,130\n",
        "2024-01-01T00:00:00Z\n2024-01-01T00:00:01Z\n",
        "1704067200.5\n1704067201.5\n",
    ],
)
def test_what_may_be_counts_or_times_is_not_guessed_at(tmp_path: Path, text: str) -> None:
    with pytest.raises(InvalidInput, match="one count of requests a second a line, without a header; or CSV with a"):
        read(tmp_path, text)


def test_times_in_milliseconds_are_not_taken_for_seconds(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="row 1 has '1704067200000' for seconds: is it in milliseconds"):
        read(tmp_path, "timestamp\n1704067200000\n1704067200500\n")
    with pytest.raises(InvalidInput, match=r"lasts 1\.16e\+03 days, and at most 366"):
        read(tmp_path, "timestamp\n0\n100000000\n")


@pytest.mark.parametrize("text", ["1e300\n1\n", "1e308\n1e308\n", "1e9\n"])
def test_more_requests_than_fit_into_memory_are_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(InvalidInput, match=r"requests, and at most 1e\+08"):
        read(tmp_path, text)


def test_the_scale_counts_for_that_too(tmp_path: Path) -> None:
    for text in ("1\n", "time\n0\n"):
        with pytest.raises(InvalidInput, match="at most"):
            read(tmp_path, text, scale=1e9)


@pytest.mark.parametrize(("text", "scale"), [("0\n0\n0\n", 1.0), ("1\n", 1e-9), ("time\n5\n", 1e-9)])
def test_a_trace_without_requests_says_nothing_of_any_policy(tmp_path: Path, text: str, scale: float) -> None:
    with pytest.raises(InvalidInput, match="no requests"):
        read(tmp_path, text, scale=scale)


@pytest.mark.parametrize("broken", ["cut", "mangled", "none"])
def test_a_broken_archive_is_explained(tmp_path: Path, broken: str) -> None:
    whole = gzip.compress(b"time\n" + b"1\n2\n" * 100)
    raw = {"cut": whole[:-12], "mangled": whole[:10] + b"\xff" * 20 + whole[30:], "none": b"time\n1\n"}[broken]
    with pytest.raises(InvalidInput, match=r"trace\.csv\.gz: "):
        read(tmp_path, raw, "trace.csv.gz")
