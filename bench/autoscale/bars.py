"""The bars that the recommender is held to, judged on the outcomes of a grid. Says what fails, by how much."""

from collections.abc import Callable, Sequence

import msgspec

from corefit.simulate.run import Outcome

OBJECTIVE = 0.99
SMOOTH = ("diurnal", "noisy", "constant")
COST_SMOOTH = 1.08
SAVING = 0.5


class Case(msgspec.Struct, frozen=True):
    """One trace in one setting: the outcome of each policy."""

    key: str
    trace: str
    outcomes: dict[str, Outcome]

    @property
    def smooth(self) -> bool:
        """Whether the load changes slowly against a start-up, or about a level."""
        return any(word in self.trace for word in SMOOTH)


def attainment(case: Case, _: Sequence[str]) -> str | None:
    """99 % wherever the clairvoyant reaches it."""
    ours, best = case.outcomes["corefit"].attainment, case.outcomes["clairvoyant"].attainment
    return f"{100 * ours:.2f} %" if best >= OBJECTIVE > ours else None


def never_below(case: Case, rivals: Sequence[str]) -> str | None:
    """Not below the best HPA and KPA, of those that keep the objective themselves or where it is missed."""
    ours = case.outcomes["corefit"].attainment
    name = max((r for r in rivals if "ray" not in r), key=lambda r: case.outcomes[r].attainment)
    best = case.outcomes[name].attainment
    return f"{100 * ours:.2f} % under {name}'s {100 * best:.2f} %" if ours < min(OBJECTIVE, best) else None


def cost(case: Case, _: Sequence[str]) -> str | None:
    """At most 1.08 of the clairvoyant's core-hours on smooth load."""
    ratio = case.outcomes["corefit"].core_hours / case.outcomes["clairvoyant"].core_hours
    return f"{ratio:.3f}" if case.smooth and ratio > COST_SMOOTH else None


def frontier(case: Case, rivals: Sequence[str]) -> str | None:
    """No rival's setting has both fewer core-hours and a higher attainment."""
    ours = case.outcomes["corefit"]
    better = [
        f"{r} {100 * o.attainment:.2f} % at {o.core_hours / ours.core_hours:.3f} of the cost"
        for r in rivals
        if (o := case.outcomes[r]).core_hours < ours.core_hours and o.attainment > ours.attainment
    ]
    return f"{100 * ours.attainment:.2f} %, but " + "; ".join(better) if better else None


def saving(case: Case, _: Sequence[str]) -> str | None:
    """Half the core-hours of unsized pods under HPA at 70 %, at no lower attainment."""
    ours, naive = case.outcomes["corefit"], case.outcomes["naive"]
    saved = 1 - ours.core_hours / naive.core_hours
    worse = ours.attainment < min(naive.attainment, OBJECTIVE)
    if saved >= SAVING and not worse:
        return None
    return f"{100 * saved:.0f} % saved, {100 * ours.attainment:.2f} % against {100 * naive.attainment:.2f} %"


def changes(case: Case, _: Sequence[str]) -> str | None:
    """No more scale changes than KPA at its default."""
    ours, kpa = case.outcomes["corefit"].scale_changes, case.outcomes["kpa:70"].scale_changes
    return f"{ours} against {kpa}" if ours > kpa else None


BARS: tuple[Callable[[Case, Sequence[str]], str | None], ...] = (
    attainment,
    never_below,
    cost,
    frontier,
    saving,
    changes,
)


def summary(
    cases: Sequence[Case],
    rivals: Sequence[str],
    flawed: dict[str, dict[str, Outcome]],
    ranged: dict[str, dict[str, Outcome]],
) -> str:
    """Markdown: each bar, how many cases meet it, those that don't; flawed reports; the second dimension."""
    lines = [f"# {len(cases)} cases", "", "| bar | met | not met |", "|---|---|---|"]
    details: list[str] = []
    for bar in BARS:
        failed = {case.key: why for case in cases if (why := bar(case, rivals)) is not None}
        judged = [c for c in cases if bar is not cost or c.smooth]
        lines.append(f"| {(bar.__doc__ or '').strip()} | {len(judged) - len(failed)} | {len(failed)} |")
        details += ["", f"## Not met: {(bar.__doc__ or '').strip()}", ""] if failed else []
        details += [f"- {key}: {why}" for key, why in failed.items()]
    return "\n".join([*lines, "", *_ratios(cases), "", *_flawed(flawed), "", *_ranged(ranged), *details, ""])


def _ratios(cases: Sequence[Case]) -> list[str]:
    lines = [
        "| policy | core-hours over the clairvoyant's (median, worst) | in time % (median, worst) |",
        "|---|---|---|",
    ]
    for name in cases[0].outcomes if cases else ():
        ratios = sorted(c.outcomes[name].core_hours / c.outcomes["clairvoyant"].core_hours for c in cases)
        kept = sorted(100 * c.outcomes[name].attainment for c in cases)
        middle = len(cases) // 2
        lines.append(f"| {name} | {ratios[middle]:.2f}, {ratios[-1]:.2f} | {kept[middle]:.2f}, {kept[0]:.2f} |")
    return lines


def _ranged(ranged: dict[str, dict[str, Outcome]]) -> list[str]:
    """Core-hours over the clairvoyant's and requests in time, by pods alone and with CPU a pod at each head-room."""
    names = [name for name in next(iter(ranged.values()), {}) if name != "clairvoyant"]
    lines = ["| CPU a pod, trace | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|"]
    for trace, rows in ranged.items():
        least = rows["clairvoyant"].core_hours
        cells = [f"{rows[n].core_hours / least:.2f} at {100 * rows[n].attainment:.2f} %" for n in names]
        lines.append(f"| {trace} | " + " | ".join(cells) + " |")
    return lines


def _flawed(flawed: dict[str, dict[str, Outcome]]) -> list[str]:
    lines = ["| trace | reports | core-hours | in time % | changes |", "|---|---|---|---|---|"]
    for trace, outcomes in flawed.items():
        lines += [
            f"| {trace} | {name} | {o.core_hours:.2f} | {100 * o.attainment:.2f} | {o.scale_changes} |"
            for name, o in outcomes.items()
        ]
    return lines
