"""Reads a trace into arrival times: counts a second, timestamps, or recorded reports; gzip allowed.

Formats, told apart by the first line:
- counts: one number a line, the requests of that second;
- timestamps: CSV with a header and a request a row, a column of which holds ISO times (UTC where they name no zone) or
  seconds. Seconds only in a column that is named for them: nothing else tells times from counts;
- reports: JSON lines `{"at": seconds, "pod": uid, "report": {...}}`, as `GET /report` gave them.
"""

import csv
import gzip
import io
import math
import zlib
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec
import numpy as np

from corefit.simulate.kernel import Floats
from corefit_core.errors import InvalidInput
from corefit_core.report import Report

TIME_COLUMNS: Final = ("timestamp", "time", "ts", "datetime", "arrival", "arrival_time")
COUNT_COLUMNS: Final = (
    *("count", "counts", "requests", "request_count", "num_requests", "requests_total", "hits", "invocations"),
    *("rate", "rps", "qps", "request_rate", "requests_per_second"),
)
FORMATS: Final = (
    "a trace is one count of requests a second a line, without a header; or CSV with a request a row, whose header "
    "names the column of times 'timestamp'; or recorded reports as JSON lines"
)
MOST_REQUESTS: Final = 100_000_000
"""Of a trace: a day of 1,150 a second. Arrival, work and latency of each are held in memory, some 30 bytes."""
MOST_SECONDS: Final = 366 * 86400
"""Of a trace, a year: what lasts longer has its times in another unit than seconds."""
LATEST_S: Final = 1e11
"""No seconds since 1970 are that many until the year 5138, but the milliseconds have been since 1973."""


class Trace(msgspec.Struct, frozen=True):
    """Arrival times in seconds from the start, ascending, and how long the trace is."""

    name: str
    arrivals: Floats
    duration_s: float


class Recorded(msgspec.Struct, frozen=True):
    """One line of a recording: when, of which pod, what it reported."""

    at: float
    pod: str
    report: Report


def read(path: Path, scale: float = 1.0, seed: int = 1) -> Trace:
    """The trace in the file, with `scale` times its requests.

    Raises:
        InvalidInput: the file can't be read, or is none of the formats; the message names the line.
    """
    text = _text(path)
    lines = [line for line in text.splitlines() if line.strip()]
    if not lines:
        raise InvalidInput(f"{path}: empty")
    if lines[0].lstrip().startswith("{"):
        trace = _counted(path, _recorded(path, lines), scale, seed)
    elif _number(lines[0]) is not None:
        trace = _counted(path, _counts(path, lines), scale, seed)
    else:
        trace = _timed(path, _timestamps(path, lines), scale, seed)
    if not len(trace.arrivals):
        raise InvalidInput(f"{path}: no requests" + (f" are left at {scale:g} times as many" if scale < 1 else ""))
    return trace


def from_counts(name: str, counts: Floats, seed: int = 1) -> Trace:
    """Requests at random times within each second; a fraction of a request is a request with that chance."""
    generator = np.random.default_rng(seed)
    whole = np.floor(counts + generator.random(len(counts))).astype(np.int64)
    seconds = np.repeat(np.arange(len(whole), dtype=np.float64), whole)
    return Trace(name, np.sort(seconds + generator.random(len(seconds))), float(len(whole)))


def from_times(name: str, times: Sequence[float]) -> Trace:
    """Requests at these times, counted from the first."""
    arrivals = np.sort(np.asarray(times, dtype=np.float64))
    arrivals -= arrivals[0]
    return Trace(name, arrivals, float(math.ceil(arrivals[-1] + 1e-9) or 1))


def scaled(trace: Trace, scale: float, seed: int = 1) -> Trace:
    """Each request `scale` times on average: copies within a second after it, or left out by chance."""
    if scale == 1:
        return trace
    generator = np.random.default_rng(seed)
    copies = np.floor(scale + generator.random(len(trace.arrivals))).astype(np.int64)
    times = np.repeat(trace.arrivals, copies)
    first = np.concatenate([[True], times[1:] != times[:-1]]) if len(times) else np.array([], dtype=bool)
    times = np.sort(times + np.where(first, 0.0, generator.random(len(times))))
    return Trace(trace.name, times, max(trace.duration_s, math.ceil(times.max(initial=0.0))))


def _counted(path: Path, counts: Floats, scale: float, seed: int) -> Trace:
    with np.errstate(over="ignore"):
        _check_requests(path, float(counts.sum() * scale))
    return from_counts(path.name, counts * scale, seed)


def _timed(path: Path, times: Sequence[float], scale: float, seed: int) -> Trace:
    _check_requests(path, len(times) * scale)
    _check_duration(path, max(times) - min(times))
    return scaled(from_times(path.name, times), scale, seed)


def _check_requests(path: Path, requests: float) -> None:
    if requests > MOST_REQUESTS:
        raise InvalidInput(
            f"{path}: {requests:.3g} requests, and at most {MOST_REQUESTS:.3g} can be simulated. If these are times: "
            f"{FORMATS}"
        )


def _check_duration(path: Path, seconds: float) -> None:
    if seconds > MOST_SECONDS:
        raise InvalidInput(
            f"{path}: lasts {seconds / 86400:.3g} days, and at most {MOST_SECONDS // 86400} can be simulated. "
            "Times that are numbers are taken for seconds"
        )


def _text(path: Path) -> str:
    try:
        raw = path.read_bytes()
        return (gzip.decompress(raw) if path.suffix == ".gz" else raw).decode("utf-8-sig")
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise InvalidInput(f"{path}: {error}") from error


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _counts(path: Path, lines: Sequence[str]) -> Floats:
    _check_duration(path, len(lines))
    counts = [_number(line) for line in lines]
    for index, count in enumerate(counts):
        if count is None or count < 0:
            raise InvalidInput(f"{path}: line {index + 1} is {lines[index]!r}, not a number of requests")
    return np.array(counts, dtype=np.float64)


def _timestamps(path: Path, lines: Sequence[str]) -> list[float]:
    rows = csv.DictReader(io.StringIO("\n".join(lines)))
    try:
        times = list(_times(path, rows, _column(path, rows.fieldnames or [])))
    except csv.Error as error:
        raise InvalidInput(f"{path}: line {rows.line_num + 1}: {error}") from error
    if not times:
        raise InvalidInput(f"{path}: a header but no requests")
    return times


def _column(path: Path, fields: Sequence[str]) -> str:
    """The column of times: the first that is named so, or the first of all."""
    names = [field.strip().lower() for field in fields]
    counted = next((name for name in names if name in COUNT_COLUMNS), None)
    if counted is not None:
        raise InvalidInput(f"{path}: the column {counted!r} is of counts, and not a request a row: {FORMATS}")
    if any(_timestamp_s(field.strip()) is not None for field in fields):
        raise InvalidInput(f"{path}: line 1 has times where a header should be: {FORMATS}")
    return fields[next((i for i, name in enumerate(names) if name in TIME_COLUMNS), 0)]


def _times(path: Path, rows: "csv.DictReader[str]", column: str) -> Iterator[float]:
    named = column.strip().lower() in TIME_COLUMNS
    for index, row in enumerate(rows, 1):
        text = (row.get(column) or "").strip()
        number = _number(text)
        if number is not None and not named:
            raise InvalidInput(f"{path}: row {index} has {text!r} in column {column!r}, a count or a time: {FORMATS}")
        seconds = _timestamp_s(text) if number is None else number
        if seconds is None:
            raise InvalidInput(f"{path}: row {index} has {text!r} for a time")
        if abs(seconds) >= LATEST_S:
            raise InvalidInput(f"{path}: row {index} has {text!r} for seconds: is it in milliseconds, or less?")
        yield seconds


def _timestamp_s(text: str) -> float | None:
    """Seconds since 1970 of an ISO time, to the microsecond."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _recorded(path: Path, lines: Sequence[str]) -> Floats:
    """Requests a second, from the differences of each process's counters spread over the time between."""
    decoder = msgspec.json.Decoder(Recorded)
    try:
        records = sorted((decoder.decode(line) for line in lines), key=lambda r: r.at)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidInput(f"{path}: not a recording of reports: {error}") from error
    begin, end = records[0].at, records[-1].at
    _check_duration(path, end - begin)
    counts = np.zeros(max(1, math.ceil(end - begin)))
    before: dict[tuple[str, str], Recorded] = {}
    for record in records:
        last = before.get((record.pod, record.report.boot_id))
        before[record.pod, record.report.boot_id] = record
        if last is not None and record.at > last.at:
            arrived = max(0, record.report.counters.arrivals - last.report.counters.arrivals)
            _spread(counts, last.at - begin, record.at - begin, arrived)
    return counts


def _spread(counts: Floats, begin: float, end: float, requests: float) -> None:
    seconds = np.arange(int(begin), min(len(counts), math.ceil(end)))
    shares = np.clip(np.minimum(end, seconds + 1) - np.maximum(begin, seconds), 0, 1)
    counts[seconds] += requests * shares / (end - begin)
