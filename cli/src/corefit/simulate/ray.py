"""Ray Serve's replica autoscaling on ongoing requests.

Compared with ray-project/ray python/ray/serve/autoscaling_policy.py (_core_replica_queue_length_policy and
_apply_delay_logic, at commit 00590c4); defaults of AutoscalingConfig: replicas times ongoing requests a replica over
the target, looked back over 30 s, up after 30 s and down after 600 s of the same wish. May not know of objectives.
"""

import math
from typing import Final

from corefit.simulate.outcome import Case, Outcome, Run
from corefit.simulate.scalers import View

LOOK_BACK_S: Final = 30.0
UP_DELAY_S: Final = 30.0
DOWN_DELAY_S: Final = 600.0
DEFAULT_TARGET: Final = 2.0
"""`target_ongoing_requests`."""
CONTROL_S: Final = 1.0
"""Serve's loop runs each 0.1 s on metrics that change each 10 s: a second tells nothing apart."""


def run(case: Case, argument: str, run_case: Run) -> Outcome:
    """Ray Serve; the argument is its target in percent of a pod's workers, without it Ray's own default."""
    workers, most = case.setting.service.workers, case.setting.max_replicas
    return run_case(case, Ray(float(argument) / 100 * workers if argument else DEFAULT_TARGET, most))


class Ray:
    """Ongoing requests of a replica kept at `target`."""

    period_s = CONTROL_S

    def __init__(self, target: float, max_replicas: int, min_replicas: int = 1) -> None:
        self.target, self.max, self.min = target, max_replicas, min_replicas
        self._wishes = 0

    def replicas(self, view: View) -> int:
        """One turn of the control loop."""
        current, running = view.replicas, max(1, len(view.ready))
        ratio = view.concurrency(LOOK_BACK_S) / running / self.target
        desired = max(self.min, min(self.max, math.ceil(running * ratio)))
        if desired > current:
            self._wishes = max(1, self._wishes + 1)
            if self._wishes <= UP_DELAY_S / CONTROL_S:
                return current
        elif desired < current:
            self._wishes = min(-1, self._wishes - 1)
            if self._wishes >= -DOWN_DELAY_S / CONTROL_S:
                return current
        self._wishes = 0
        return desired
