"""One trace under one policy: the loop, and the measured outcome. May not print."""

import importlib
from collections.abc import Callable
from typing import Final

from corefit.simulate import policies
from corefit.simulate.fleet import Fleet
from corefit.simulate.outcome import Case, Outcome, Setting, outcome
from corefit.simulate.requests import Requests, services
from corefit.simulate.scalers import Scaler, View, needs, offered
from corefit.simulate.traces import Trace

FIRST_S: Final = 60.0
"""All policies begin with what the first minute of the trace needs: none is judged by its first guess."""

Progress = Callable[[float], None]


def simulate(name: str, trace: Trace, setting: Setting, progress: Progress = lambda _: None) -> Outcome:
    """The trace under the policy of that name.

    Raises:
        InvalidInput: no such policy.
    """
    entry, argument = policies.named(name)
    service = setting.service
    work = services(len(trace.arrivals), service.service_s, service.service_cv, setting.seed)

    def run_case(case: Case, scaler: Scaler, first: int | None = None) -> Outcome:
        return _run(case, scaler, _first(case) if first is None else first, progress)

    module, _, function = entry.maker.partition(":")
    made: Outcome = getattr(importlib.import_module(module), function)(
        Case(name, trace, work, setting), argument, run_case
    )
    return made


def _first(case: Case) -> int:
    service = case.setting.service
    begin = offered(case.trace, case.work, FIRST_S)[:1]
    return int(needs(begin, service, 1 - service.objective.percentile / 100)[0])


def _run(case: Case, scaler: Scaler, first: int, progress: Progress) -> Outcome:
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
