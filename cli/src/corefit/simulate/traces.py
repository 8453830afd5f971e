"""Reads a trace into arrival times: counts a second, timestamps, or recorded reports; gzip allowed.

Formats, told apart by the first line:
- counts: one number a line, the requests of that second;
- timestamps: CSV with a header, a column of which (`timestamp`, `time`, `ts` or the first) holds ISO times or seconds;
- reports: JSON lines `{"at": seconds, "pod": uid, "report": {...}}`, as `GET /report` gave them.
"""

import csv
import gzip
import io
import math
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Final

import msgspec
import numpy as np

from corefit.simulate.kernel import Floats
from corefit_core.errors import InvalidInput
from corefit_core.report import Report

TIME_COLUMNS: Final = ("timestamp", "time", "ts")


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
        counts = _recorded(path, lines)
    elif _number(lines[0]) is not None:
        counts = _counts(path, lines)
    else:
        return scaled(from_times(path.name, _timestamps(path, lines)), scale, seed)
    return from_counts(path.name, counts * scale, seed)


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


def _text(path: Path) -> str:
    try:
        raw = path.read_bytes()
        return (gzip.decompress(raw) if path.suffix == ".gz" else raw).decode()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(f"{path}: {error}") from error


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _counts(path: Path, lines: Sequence[str]) -> Floats:
    counts = [_number(line) for line in lines]
    for index, count in enumerate(counts):
        if count is None or count < 0:
            raise InvalidInput(f"{path}: line {index + 1} is {lines[index]!r}, not a number of requests")
    return np.array(counts, dtype=np.float64)


def _timestamps(path: Path, lines: Sequence[str]) -> list[float]:
    rows = csv.DictReader(io.StringIO("\n".join(lines)))
    fields = rows.fieldnames or []
    column = next((f for f in fields if f.strip().lower() in TIME_COLUMNS), fields[0] if fields else "")
    times = list(_times(path, rows, column))
    if not times:
        raise InvalidInput(f"{path}: a header but no request; expected timestamps in column {column!r}")
    return times


def _times(path: Path, rows: "csv.DictReader[str]", column: str) -> Iterator[float]:
    for index, row in enumerate(rows):
        text = (row.get(column) or "").strip()
        seconds = _number(text)
        if seconds is None:
            try:
                # Seven digits of a second, as .NET writes them, are one more than datetime reads.
                head, _, fraction = text.partition(".")
                seconds = datetime.fromisoformat(head).timestamp() + float(f"0.{fraction or 0}")
            except ValueError as error:
                raise InvalidInput(f"{path}: row {index + 1} has {text!r} for a time") from error
        yield seconds


def _recorded(path: Path, lines: Sequence[str]) -> Floats:
    """Requests a second, from the differences of each process's counters spread over the time between."""
    decoder = msgspec.json.Decoder(Recorded)
    try:
        records = sorted((decoder.decode(line) for line in lines), key=lambda r: r.at)
    except msgspec.DecodeError as error:
        raise InvalidInput(f"{path}: not a recording of reports: {error}") from error
    begin, end = records[0].at, records[-1].at
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
