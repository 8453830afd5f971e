"""One trace under one policy: the loop, the policies by name, and the measured outcome. May not print."""

from collections.abc import Callable
from typing import Final

import msgspec

from corefit.simulate import bounds
from corefit.simulate.corefit import Corefit
from corefit.simulate.fleet import Fleet
from corefit.simulate.hpa import Hpa
from corefit.simulate.kernel import Floats
from corefit.simulate.kpa import Kpa
from corefit.simulate.outcome import Case, Outcome, Setting, outcome
from corefit.simulate.ray import DEFAULT_TARGET, Ray
from corefit.simulate.requests import Requests, services
from corefit.simulate.scalers import Scaler, View, needs, offered
from corefit.simulate.traces import Trace
from corefit_core.errors import InvalidInput
from corefit_core.recommender import Policy

ALL: Final = ("corefit", "hpa:70", "kpa:70", "ray", "static", "clairvoyant", "naive")
FIRST_S: Final = 60.0
"""All policies begin with what the first minute of the trace needs: none is judged by its first guess."""
RANGED_ROUND_S: Final = 1.0
"""With a range of CPU the round is what answers a surge: longer than a resize takes, it is the larger half."""

Progress = Callable[[float], None]


def simulate(name: str, trace: Trace, setting: Setting, progress: Progress = lambda _: None) -> Outcome:
    """The trace under the policy of that name.

    Raises:
        InvalidInput: no such policy.
    """
    service = setting.service
    work = services(len(trace.arrivals), service.service_s, service.service_cv, setting.seed)
    kind, _, argument = name.partition(":")
    if kind in bounds.BOUNDS:
        return bounds.BOUNDS[kind](Case(name, trace, work, setting), _run)
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
    if kind not in bounds.BOUNDS:
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
        f"no policy {name!r}: corefit[:pods], hpa:70, kpa:70, ray, ray:70, static, clairvoyant, reactive, naive, all"
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
    return outcome(case, fleet, steps)
