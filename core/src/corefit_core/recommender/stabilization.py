"""From what the load needs to what is done: up at once, down by the highest recommendation of a window, and why.

Owns `WindowState`. Never down from ignorance: what is not known holds. May not say anything in words.
"""

from typing import Final, NamedTuple

import msgspec

from corefit_core import window
from corefit_core.recommender import placement, saturation
from corefit_core.recommender.capacity import Demand
from corefit_core.recommender.measurement import Measured
from corefit_core.recommender.placement import Size
from corefit_core.recommender.predictors import Sample
from corefit_core.recommender.saturation import There, Trial, Work
from corefit_core.recommender.transients import Transients
from corefit_core.recommender.types import Observation, Policy, Reason
from corefit_core.window import Timed

COVERAGE: Final = 0.5
"""With less than half of the ready pods reporting, what the others carry is a guess: hold."""


class WindowState(msgspec.Struct, frozen=True, kw_only=True):
    """What scaling down and trials rest on.

    Attributes:
        known_since: since when the load is known without a gap longer than a report may be old; None when it isn't.
        known_at: when it was known last.
        recommendations: of the stabilization window, oldest first.
        as_allowed: those that would be if just as many requests had missed the objective lately as it allows.
        replicas: that the load needed last, from where they are looked for the next time.
        transients: bursts that ended before a pod for them could serve, and the burst of now.
        trial: the last replica that was added to see whether there is more load; None before one was.
        fell: the work of the pods before some of them went; None where those that stay have had idle time since.
    """

    known_since: float | None = None
    known_at: float | None = None
    recommendations: tuple[Timed, ...] = ()
    as_allowed: tuple[Timed, ...] = ()
    replicas: int = 0
    transients: Transients = Transients()
    trial: Trial | None = None
    fell: Work | None = None


class Situation(NamedTuple):
    """What is there in this round: policy, pods, measurement, samples; the window and the horizon in seconds."""

    policy: Policy
    seen: Observation
    measured: Measured
    samples: tuple[Sample, ...]
    window_s: float
    horizon_s: float

    @property
    def now(self) -> float:
        """Of the last sample, seconds."""
        return self.samples[-1].at

    @property
    def there(self) -> There:
        """What tells whether pods have idle time."""
        return There(self.samples, self.seen, self.measured)


class Outcome(NamedTuple):
    """What is done, and the numbers of its reason.

    Attributes:
        replicas: within the bounds, but for holds.
        reason: for it.
        demand: what the load needs; None where it is not known.
        highest: that was needed within the window.
        as_allowed: that would have been if just as many requests had missed the objective lately as it allows.
        tried: a trial goes on: one replica more than there were.
        enough: replicas that are enough once they have more CPU.
        size: CPU of the pods; None without a range, or where nothing is known.
    """

    replicas: int
    reason: Reason
    demand: Demand | None = None
    highest: int = 0
    as_allowed: int = 0
    tried: bool = False
    enough: int = 0
    size: Size | None = None


def ignorance(seen: Observation, measured: Measured) -> Reason | None:
    """Why nothing can be decided; None where something can."""
    if seen.rollout:
        return "RolloutInProgress"
    if measured.erlangs is None:
        return "NoReports"
    return "StaleReports" if measured.missing > (1 - COVERAGE) * measured.ready else None


def stabilized(here: Situation, before: WindowState, demand: Demand, known: Transients) -> tuple[Outcome, WindowState]:
    """The replicas within bounds and window, and the state for the next round."""
    needed = demand.replicas if demand.withheld is None else demand.withheld.replicas
    trial = saturation.tried(here.policy, before.trial, before.fell, here.there, needed)
    if trial is not None and saturation.goes_on(trial, here.there, here.horizon_s):
        replicas, down = max(demand.replicas, trial.replicas), max(demand.scale_down, trial.replicas)
        demand = demand._replace(replicas=replicas, scale_down=down, as_allowed=None)
    after = WindowState(
        known_since=_known_since(here, before),
        known_at=here.now,
        recommendations=window.pushed(before.recommendations, here.now, demand.scale_down, here.window_s),
        as_allowed=window.pushed(before.as_allowed, here.now, _as_allowed(demand), here.window_s),
        replicas=demand.replicas,
        transients=known,
        trial=trial,
    )
    outcome = _short(here, demand) or _choice(here, after, demand)
    outcome = outcome if demand.sized is None else _sized(here, outcome, demand)
    fell = saturation.fallen(before.fell, here.there, outcome.replicas)
    return outcome, msgspec.structs.replace(after, fell=fell)


def _known_since(here: Situation, before: WindowState) -> float:
    """Since when the window has been filling: a gap starts it anew, for nobody knows what was in the gap."""
    late = before.known_at is None or here.now - before.known_at > here.policy.max_report_age_s
    return here.now if before.known_since is None or late else before.known_since


def _short(here: Situation, demand: Demand) -> Outcome | None:
    """The replicas as they are in a burst that may end before a pod serves, where they are enough without it."""
    least, most = max(here.policy.min_replicas, demand.replicas), here.policy.max_replicas
    if demand.withheld is None or not least <= here.seen.replicas <= most:
        return None
    return Outcome(here.seen.replicas, "ShortBurst", demand)


def _choice(here: Situation, after: WindowState, demand: Demand) -> Outcome:
    """Replicas within the bounds and the window."""
    current, needed, policy = here.seen.replicas, demand.replicas, here.policy
    bounded = max(policy.min_replicas, min(policy.max_replicas, needed))
    if bounded < current:
        return _down(here, after, demand, bounded)
    trial = after.trial
    if trial is not None and bounded == trial.replicas and saturation.goes_on(trial, here.there, here.horizon_s):
        return Outcome(bounded, "Saturated", demand, tried=True)
    if bounded == current == needed and saturation.full(here.there):
        return Outcome(current, "Saturated", demand)
    if bounded != needed:
        return Outcome(bounded, "AtMaximum" if needed > policy.max_replicas else "AtMinimum", demand)
    if bounded > current:
        return Outcome(bounded, "LoadUp", demand)
    return _kept(here, after, demand, Outcome(current, "Steady", demand, demand.scale_down))


def _down(here: Situation, after: WindowState, demand: Demand, bounded: int) -> Outcome:
    """Toward fewer replicas, no further than the window allows."""
    current, now = here.seen.replicas, here.now
    if after.known_since is None or now - after.known_since < here.window_s:
        return Outcome(current, "WindowFilling", demand)
    # Without a window this round decides alone, by the same measure: fewer replicas would come back by the same load.
    highest = max(demand.scale_down, round(window.highest(after.recommendations, now, here.window_s) or 0))
    most = max(highest, demand.at_once)
    target = min(current, max(bounded, min(here.policy.max_replicas, most)))
    if target < current:
        return Outcome(target, "LoadDown", demand, most)
    return _kept(here, after, demand, Outcome(current, "StabilizationWindow", demand, highest))


def _kept(here: Situation, after: WindowState, demand: Demand, outcome: Outcome) -> Outcome:
    """With the reason for which replicas stay: load that came back before, or the objective, missed too often."""
    if demand.held is not None:
        return outcome._replace(reason="Holding")
    enough = max(_as_allowed(demand), round(window.highest(after.as_allowed, here.now, here.window_s) or 0))
    if enough < outcome.replicas <= outcome.highest:
        return outcome._replace(reason="ErrorBudgetSpent", as_allowed=enough)
    return outcome


def _as_allowed(demand: Demand) -> int:
    """Replicas to scale down to if just as many requests had missed the objective lately as it allows."""
    return demand.scale_down if demand.as_allowed is None else demand.as_allowed.scale_down


def _sized(here: Situation, outcome: Outcome, demand: Demand) -> Outcome:
    """CPU for the replicas decided, which go down once those that stay have it."""
    if demand.sized is None:
        return outcome
    where, need = demand.sized
    current, fewer = here.seen.replicas, outcome.replicas
    if fewer < current:
        outcome = outcome._replace(replicas=min(current, placement.carrying(where, need, fewer)))
    size = placement.size(where, need, outcome.replicas)
    if fewer < current and not (size.enough and outcome.replicas < current):
        outcome = outcome._replace(replicas=current, reason="GrowingFirst", enough=fewer)
    return outcome._replace(size=size)
