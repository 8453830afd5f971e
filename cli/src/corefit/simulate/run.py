"""One trace under one policy: the loop, the policies by name, and the measured outcome. May not print."""

import math
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

import msgspec
import numpy as np

from corefit.simulate.corefit import Corefit, Flaws
from corefit.simulate.fleet import Fleet, Service
from corefit.simulate.hpa import Hpa
from corefit.simulate.kernel import Floats, Singles
from corefit.simulate.kpa import Kpa
from corefit.simulate.ray import DEFAULT_TARGET, Ray
from corefit.simulate.requests import Requests, services
from corefit.simulate.scalers import Fixed, Scaler, View, clairvoyant, needs, offered
from corefit.simulate.traces import Trace
from corefit_core.errors import InvalidInput
from corefit_core.recommender import Policy

ALL: Final = ("corefit", "hpa:70", "kpa:70", "ray", "static", "clairvoyant", "naive")
FIRST_S: Final = 60.0
"""All policies begin with what the first minute of the trace needs: none is judged by its first guess."""
STATIC_S: Final = 60.0
"""A plan that never changes needs no rhythm of its own."""
RANGED_ROUND_S: Final = 1.0
"""With a range of CPU the round is what answers a surge: longer than a resize takes, it is the larger half."""
SEARCH_STEPS: Final = 5
"""Halvings of the misses that the clairvoyant may plan for: to within a sixth of them, a percent of its cost."""


class Setting(msgspec.Struct, frozen=True, kw_only=True):
    """All that a run depends on but the trace and the policy's name.

    Attributes:
        service: what is simulated.
        policy: Corefit's, bounds and objective filled in from the service.
        unsized: throughput of a pod whose threads were not sized over that of one whose were (the naive baseline).
        flaws: what is wrong with the reports.
        max_replicas: for every policy.
        seed: of service times and balancing.
    """

    service: Service = Service()
    policy: Policy = Policy()
    unsized: float = 0.6
    flaws: Flaws = Flaws()
    max_replicas: int = 1000
    seed: int = 1


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What came of it.

    Attributes:
        policy: its name.
        core_hours: requested cores over time, starting and draining pods included.
        attainment: the share of requests answered within the objective; turned away is missed.
        shed: the share turned away.
        scale_changes: how often the replicas changed.
        p50_s, p99_s: of the answered requests; None when none was.
        cost: core-hours at the policy's price (memory left out).
        times_s, replicas: replicas asked for, from each time on.
        latency_s: p99 of each minute; None in a minute without answers.
    """

    policy: str
    core_hours: float
    attainment: float
    shed: float
    scale_changes: int
    p50_s: float | None
    p99_s: float | None
    cost: float
    times_s: list[float]
    replicas: list[int]
    latency_s: list[float | None]


class Case(NamedTuple):
    """A trace with the work of its requests, under a policy of that name."""

    name: str
    trace: Trace
    work: Floats
    setting: Setting


Progress = Callable[[float], None]


def simulate(name: str, trace: Trace, setting: Setting, progress: Progress = lambda _: None) -> Outcome:
    """The trace under the policy of that name.

    Raises:
        InvalidInput: no such policy.
    """
    service = setting.service
    work = services(len(trace.arrivals), service.service_s, service.service_cv, setting.seed)
    kind, _, argument = name.partition(":")
    if kind == "clairvoyant":
        return _cheapest(Case(name, trace, work, setting))
    if kind == "static":
        return _static(Case(name, trace, work, setting))
    if kind == "naive":
        service = msgspec.structs.replace(service, service_s=service.service_s / setting.unsized)
        setting, work = msgspec.structs.replace(setting, service=service), work / setting.unsized
    scaler = _scaler(name, kind, argument, setting)
    return _run(Case(name, trace, work, setting), scaler, _first(trace, work, setting), progress)


def check(name: str, setting: Setting) -> None:
    """Refuse a policy that there is none of, before any work begins.

    Raises:
        InvalidInput: no such policy.
    """
    kind, _, argument = name.partition(":")
    if kind not in ("clairvoyant", "static"):
        _scaler(name, kind, argument, setting)


def _scaler(name: str, kind: str, argument: str, setting: Setting) -> Scaler:
    try:
        target = float(argument) if argument and kind != "corefit" else None
    except ValueError:
        target = -1.0
    workers, most = setting.service.workers, setting.max_replicas
    if target is None or target > 0:
        match kind:
            case "corefit" if argument in {"", "pods"}:
                return Corefit(corefit_policy(setting, argument), setting.flaws, setting.seed)
            case "hpa" | "naive":
                return Hpa(target or 70.0, most)
            case "kpa":
                return Kpa(target or 70.0, workers, most)
            case "ray":
                return Ray(DEFAULT_TARGET if target is None else target / 100 * workers, most)
    raise InvalidInput(
        f"no policy {name!r}: corefit[:pods], hpa:70, kpa:70, ray, ray:70, static, clairvoyant, naive, all"
    )


def corefit_policy(setting: Setting, dimensions: str = "") -> Policy:
    """Corefit's policy for the simulated service; without its range of CPU when `dimensions` is "pods"."""
    service = setting.service
    ranged = service.cpu_range is not None and dimensions != "pods"
    return msgspec.structs.replace(
        setting.policy,
        objective=service.objective,
        max_replicas=setting.max_replicas,
        workers_per_pod=service.workers,
        millicores_per_pod=service.millicores,
        cpu_range=service.cpu_range if ranged else None,
        resize_s=service.resize_s,
        round_s=RANGED_ROUND_S if ranged else setting.policy.round_s,
    )


def _first(trace: Trace, work: Floats, setting: Setting) -> int:
    begin = offered(trace, work, FIRST_S)[:1]
    return int(needs(begin, setting.service, 1 - setting.service.objective.percentile / 100)[0])


def _run(case: Case, scaler: Scaler, first: int, progress: Progress = lambda _: None) -> Outcome:
    duration_s, service = case.trace.duration_s, case.setting.service
    fleet = Fleet(service, Requests(case.trace.arrivals, case.work, duration_s, service.balancing), first)
    steps, now = [(0.0, first)], 0.0
    while now < duration_s:
        wanted = scaler.replicas(View(fleet, now))
        if wanted != steps[-1][1]:
            fleet.scale(wanted, now)
            steps.append((now, wanted))
        fleet.advance(now, min(duration_s, now + scaler.period_s))
        now += scaler.period_s
        progress(min(1.0, now / duration_s))
    return _outcome(case, fleet, steps)


def _outcome(case: Case, fleet: Fleet, steps: Sequence[tuple[float, int]]) -> Outcome:
    latencies = fleet.requests.load.latencies
    answered = latencies[np.isfinite(latencies)]
    in_time = int((latencies <= case.setting.service.objective.latency_s).sum())
    core_hours = fleet.core_seconds(case.trace.duration_s) / 3600
    count = len(latencies)
    return Outcome(
        policy=case.name,
        core_hours=core_hours,
        attainment=in_time / count if count else 1.0,
        shed=(count - len(answered)) / count if count else 0.0,
        scale_changes=len(steps) - 1,
        p50_s=_quantile(answered, 0.5),
        p99_s=_quantile(answered, 0.99),
        cost=core_hours * case.setting.policy.price.core_hour,
        times_s=[at for at, _ in steps],
        replicas=[replicas for _, replicas in steps],
        latency_s=_by_minute(case.trace, latencies),
    )


def _quantile(seconds: Singles, q: float) -> float | None:
    return float(np.quantile(seconds, q)) if len(seconds) else None


def _by_minute(trace: Trace, latencies: Singles) -> list[float | None]:
    minutes = np.searchsorted(trace.arrivals, np.arange(60.0, trace.duration_s, 60.0))
    parts = np.split(latencies, minutes)
    return [_quantile(part[np.isfinite(part)], 0.99) for part in parts]


def _cheapest(case: Case) -> Outcome:
    """The clairvoyant that spends all of its slack: the most misses planned for that still keep the objective."""
    service = case.setting.service
    target = service.objective.percentile / 100
    low, high, best = 1e-3, 0.2, None
    for _ in range(SEARCH_STEPS):
        allowed = math.sqrt(low * high)
        first, plan = clairvoyant(case.trace, case.work, service, allowed)
        outcome = _run(case, plan, first)
        if outcome.attainment >= target:
            best, low = outcome, allowed
        else:
            high = allowed
    if best is None:
        first, plan = clairvoyant(case.trace, case.work, service, low)
        best = _run(case, plan, first)
    return best


def _static(case: Case) -> Outcome:
    """The fewest replicas that keep the objective over the whole trace, never changed: sized in hindsight."""
    service = case.setting.service
    target = service.objective.percentile / 100
    least = case.work.sum() / case.trace.duration_s / service.workers
    low, high = max(1, math.ceil(least)), int(needs(offered(case.trace, case.work, 1.0), service, 1e-3).max())
    best = _run(case, Fixed([high], STATIC_S), high)
    while low < high:
        middle = (low + high) // 2
        outcome = _run(case, Fixed([middle], STATIC_S), middle)
        if outcome.attainment >= target:
            best, high = outcome, middle
        else:
            low = middle + 1
    return best
