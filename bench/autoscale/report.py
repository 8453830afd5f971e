"""From what was simulated to summary.md and pictures: bars met and not met, each miss by how much. May not simulate."""

import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

import picture
from bars import BARS, OBJECTIVE, cost, literally, smooth
from cells import REPRESENTATIVE
from rivals import HPA, KPA, POLICIES, RIVALS, naive_share
from store import RESULTS, Case, Row, load
from studies import FLAWED, FORESEEN, RANGED

SUMMARY: Final = RESULTS / "summary.md"


def write() -> None:
    """The summary and the pictures of all cases that are whole."""
    cases = [case for case in load().values() if set(POLICIES) <= set(case.rows)]
    SUMMARY.write_text("\n".join(_summary(cases)) + "\n")
    picture.draw(RESULTS, cases)
    print(SUMMARY.read_text())


def _summary(cases: Sequence[Case]) -> Iterator[str]:
    unsized = naive_share()
    cells = {case.cell for case in cases}
    yield f"# {len(cases)} cases: {len(cells)} of 27 cells, {len({case.trace for case in cases})} traces"
    yield ""
    yield f"naive: an unsized pod has {unsized.value:.2f} of a sized one's throughput ({unsized.source})."
    yield ""
    if cases:
        yield from (*_bars(cases), "", *_policies(cases), "", *_representative(cases))
    known = {case.key: case for case in cases}
    yield from ("", *_foresight(known), "", *_flaws(), "", *_ranges(known))
    if cases:
        yield from _misses(cases)


def _bars(cases: Sequence[Case]) -> Iterator[str]:
    yield from ("| bar | judged | met | not met |", "|---|---|---|---|")
    for bar in BARS:
        judged = [case for case in cases if bar is not cost or smooth(case)]
        failed = sum(bar(case, RIVALS) is not None for case in judged)
        yield f"| {_says(bar)} | {len(judged)} | {len(judged) - failed} | {failed} |"


def _misses(cases: Sequence[Case]) -> Iterator[str]:
    for bar in BARS:
        failed = {case.key: why for case in cases if (why := bar(case, RIVALS)) is not None}
        if failed and bar is not literally:
            yield from ("", f"## Not met: {_says(bar)}", "")
            yield from (f"- {key}: {why}" for key, why in sorted(failed.items()))


def _says(bar: Callable[[Case, Sequence[str]], str | None]) -> str:
    return (bar.__doc__ or "").strip()


def _policies(cases: Sequence[Case]) -> Iterator[str]:
    yield "| policy | core-hours over the clairvoyant's: median, worst | in time %: median, worst | keeps 99 % |"
    yield "|---|---|---|---|"
    for name in POLICIES:
        ratios = [case.rows[name].core_hours / case.rows["clairvoyant"].core_hours for case in cases]
        kept = [100 * case.rows[name].attainment for case in cases]
        yield (
            f"| {name} | {statistics.median(ratios):.2f}, {max(ratios):.2f} "
            f"| {statistics.median(kept):.2f}, {min(kept):.2f} | {sum(k >= 100 * OBJECTIVE for k in kept)} |"
        )


def _representative(cases: Sequence[Case]) -> Iterator[str]:
    yield f"The representative cell ({REPRESENTATIVE}): core-hours, in time. HPA and KPA: the cheapest that keep 99 %."
    yield ""
    yield "| trace | Corefit | clairvoyant | best constant | HPA | KPA | naive |"
    yield "|---|---|---|---|---|---|---|"
    for case in cases:
        if case.cell == str(REPRESENTATIVE):
            rows = case.rows
            cells = [_at(rows[name]) for name in ("corefit", "clairvoyant", "static")]
            cells += [_cheapest(case, HPA), _cheapest(case, KPA), _at(rows["naive"])]
            yield f"| {case.trace} | " + " | ".join(cells) + " |"


def _cheapest(case: Case, names: Sequence[str]) -> str:
    kept = [name for name in names if case.rows[name].attainment >= OBJECTIVE]
    if not kept:
        return "none"
    best = min(kept, key=lambda name: case.rows[name].core_hours)
    return f"{_at(case.rows[best])} ({best})"


def _at(row: Row) -> str:
    return f"{row.core_hours:.2f} at {100 * row.attainment:.2f} %"


def _foresight(known: Mapping[str, Case]) -> Iterator[str]:
    """What is had by who knows the load of the moment exactly and nothing of the next, tuned in hindsight."""
    yield "Core-hours without foresight, by the load of the moment known exactly (`reactive`, tuned in hindsight):"
    yield ""
    yield from ("| trace | clairvoyant | reactive | best constant | Corefit |", "|---|---|---|---|---|")
    for case in load(FORESEEN).values():
        if case.key in known:
            rows = known[case.key].rows | case.rows
            names = ("clairvoyant", "reactive", "static", "corefit")
            yield f"| {case.trace} | " + " | ".join(_at(rows[name]) for name in names) + " |"


def _flaws() -> Iterator[str]:
    yield from ("| trace | reports | core-hours | in time % | changes |", "|---|---|---|---|---|")
    for case in load(FLAWED).values():
        for name, row in case.rows.items():
            yield f"| {case.trace} | {name} | {row.core_hours:.2f} | {100 * row.attainment:.2f} | {row.changes} |"


def _ranges(known: Mapping[str, Case]) -> Iterator[str]:
    ranged = [case for case in load(RANGED).values() if case.key in known]
    names = ["corefit", *(name for case in ranged[:1] for name in case.rows)]
    yield "CPU of a pod, 1 to 8 cores: core-hours over the clairvoyant's (who has pods alone)."
    yield ""
    yield "| trace | " + " | ".join("pods alone" if name == "corefit" else name for name in names) + " |"
    yield "|---" * (len(names) + 1) + "|"
    for case in ranged:
        rows = known[case.key].rows | case.rows
        least = rows["clairvoyant"].core_hours
        cells = [f"{rows[name].core_hours / least:.2f} at {100 * rows[name].attainment:.2f} %" for name in names]
        yield f"| {case.trace} | " + " | ".join(cells) + " |"
