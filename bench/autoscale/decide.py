"""What `decide` costs for 100 pods' reports: the best and the median of many rounds; neighbours only ever add to it.

python bench/autoscale/decide.py
"""

import statistics
import time

import numpy as np

from corefit.simulate import synthetic
from corefit.simulate.corefit import Corefit
from corefit.simulate.fleet import Fleet
from corefit.simulate.requests import Requests, services
from corefit.simulate.scalers import View
from corefit.simulate.service import Service
from corefit_core.recommender import Observation, PodObservation, Policy, decide

PODS, ROUNDS, ROUND_S = 100, 200, 5.0
BEGUN = 2
"""Rounds that decide nothing: the first has nothing to take a difference from, the second nothing predicted."""


def main() -> None:
    trace = synthetic.trace("noisy", 2000.0, duration_s=int(ROUNDS * ROUND_S))
    service = Service(service_s=0.05, workers=2)
    work = services(len(trace.arrivals), service.service_s, service.service_cv, seed=1)
    fleet = Fleet(service, Requests(trace.arrivals, work, trace.duration_s), PODS)
    scaler = Corefit(Policy(max_replicas=1000, workers_per_pod=2))
    spent: list[float] = []
    for now in np.arange(0.0, trace.duration_s, ROUND_S).tolist():
        fleet.advance(now, now + ROUND_S)
        view = View(fleet, now + ROUND_S)
        reports = fleet.reports(view.now)
        pods = tuple(PodObservation(uid=p.uid, ready=True, report=reports[p.uid]) for p in fleet.pods)
        begin = time.process_time()
        _, scaler.state = decide(scaler.policy, scaler.state, Observation(pods=pods, replicas=PODS), view.now)
        spent.append(1000 * (time.process_time() - begin))
    del spent[:BEGUN]
    print(f"decide for {PODS} pods: best {min(spent):.2f} ms, median {statistics.median(spent):.2f} ms")


if __name__ == "__main__":
    main()
