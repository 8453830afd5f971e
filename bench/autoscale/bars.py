"""The bars that the recommender is held to, judged on the outcomes of a grid. Says what fails, by how much."""

from collections.abc import Callable, Sequence

from store import Case

OBJECTIVE = 0.99
SMOOTH = ("diurnal", "noisy", "constant")
COST_SMOOTH = 1.08
SAVING = 0.5


def smooth(case: Case) -> bool:
    """Whether the load changes slowly against a start-up, or about a level."""
    return any(word in case.trace for word in SMOOTH)


def attainment(case: Case, _: Sequence[str]) -> str | None:
    """99 % wherever the clairvoyant reaches it."""
    ours, best = case.rows["corefit"].attainment, case.rows["clairvoyant"].attainment
    return f"{100 * ours:.2f} %" if best >= OBJECTIVE > ours else None


def never_below(case: Case, rivals: Sequence[str]) -> str | None:
    """Not below the best HPA and KPA, of those that keep the objective themselves or where it is missed."""
    ours = case.rows["corefit"].attainment
    name = max((r for r in rivals if "ray" not in r), key=lambda r: case.rows[r].attainment)
    best = case.rows[name].attainment
    return f"{100 * ours:.2f} % under {name}'s {100 * best:.2f} %" if ours < min(OBJECTIVE, best) else None


def cost(case: Case, _: Sequence[str]) -> str | None:
    """At most 1.08 of the clairvoyant's core-hours on smooth load."""
    ratio = case.rows["corefit"].core_hours / case.rows["clairvoyant"].core_hours
    return f"{ratio:.3f}" if smooth(case) and ratio > COST_SMOOTH else None


def frontier(case: Case, rivals: Sequence[str]) -> str | None:
    """No rival's setting has both fewer core-hours and a higher attainment."""
    ours = case.rows["corefit"]
    better = [
        f"{r} {100 * o.attainment:.2f} % at {o.core_hours / ours.core_hours:.3f} of the cost"
        for r in rivals
        if (o := case.rows[r]).core_hours < ours.core_hours and o.attainment > ours.attainment
    ]
    return f"{100 * ours.attainment:.2f} %, but " + "; ".join(better) if better else None


def saving(case: Case, _: Sequence[str]) -> str | None:
    """Half the core-hours of unsized pods under HPA at 70 %, at no lower attainment."""
    ours, naive = case.rows["corefit"], case.rows["naive"]
    saved = 1 - ours.core_hours / naive.core_hours
    worse = ours.attainment < min(naive.attainment, OBJECTIVE)
    if saved >= SAVING and not worse:
        return None
    return f"{100 * saved:.0f} % saved, {100 * ours.attainment:.2f} % against {100 * naive.attainment:.2f} %"


def changes(case: Case, _: Sequence[str]) -> str | None:
    """No more scale changes than KPA at its default."""
    ours, kpa = case.rows["corefit"].changes, case.rows["kpa:70"].changes
    return f"{ours} against {kpa}" if ours > kpa else None


def literally(case: Case, rivals: Sequence[str]) -> str | None:
    """Not below the best HPA and KPA at all, whatever they cost and however well the objective is kept."""
    ours = case.rows["corefit"].attainment
    name = max((r for r in rivals if "ray" not in r), key=lambda r: case.rows[r].attainment)
    best = case.rows[name].attainment
    return f"{100 * ours:.2f} % under {name}'s {100 * best:.2f} %" if ours < best else None


BARS: tuple[Callable[[Case, Sequence[str]], str | None], ...] = (
    attainment,
    never_below,
    cost,
    frontier,
    saving,
    changes,
    literally,
)
