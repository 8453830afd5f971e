"""The Knative Pod Autoscaler on concurrency.

Compared with knative/serving pkg/autoscaler/scaling/autoscaler.go (Scale, at commit 00a4a55); the rest by
the defaults of config-autoscaler: windows of 60 s and 6 s, panic at 200 %, 70 % of the container's concurrency, rates
1000 up and 2 down, a tick of 2 s. May not know of objectives.
"""

import math
from typing import Final

from corefit.simulate.outcome import Case, Outcome, Run
from corefit.simulate.scalers import View

TICK_S: Final = 2.0
STABLE_S: Final = 60.0
PANIC_S: Final = 6.0
PANIC_THRESHOLD: Final = 2.0
MAX_UP: Final = 1000.0
MAX_DOWN: Final = 2.0


DEFAULT_TARGET: Final = 70.0


def run(case: Case, argument: str, run_case: Run) -> Outcome:
    """The KPA; the argument is its target in percent."""
    workers, most = case.setting.service.workers, case.setting.max_replicas
    return run_case(case, Kpa(float(argument or DEFAULT_TARGET), workers, most))


class Kpa:
    """Requests inside a pod kept at `target` percent of its workers."""

    period_s = TICK_S

    def __init__(self, target: float, workers: int, max_replicas: int, min_replicas: int = 1) -> None:
        self.target = target / 100 * workers
        self.max, self.min = max_replicas, min_replicas
        self._panic_since: float | None = None
        self._panic_pods = 0
        self._begun = False

    def replicas(self, view: View) -> int:
        """One tick."""
        now, ready = view.now, max(1, len(view.ready))
        if not self._begun and view.replicas > 1:
            # As the original does: with more than one pod it starts in panic, so as not to drop them unmeasured.
            self._panic_since, self._panic_pods = now, view.replicas
        self._begun = True
        up, down = math.ceil(MAX_UP * ready), math.floor(ready / MAX_DOWN)
        stable = math.ceil(view.concurrency(STABLE_S) / self.target)
        panic = math.ceil(view.concurrency(PANIC_S) / self.target)
        over = panic / ready >= PANIC_THRESHOLD
        stable, panic = min(max(stable, down), up), min(max(panic, down), up)
        if over:
            self._panic_since = now
        elif self._panic_since is not None and self._panic_since + STABLE_S < now:
            self._panic_since, self._panic_pods = None, 0
        if self._panic_since is not None:
            self._panic_pods = max(self._panic_pods, stable, panic)
            stable = self._panic_pods
        return max(self.min, min(self.max, stable))
