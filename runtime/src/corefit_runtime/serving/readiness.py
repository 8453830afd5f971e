"""Whether the process serves, and why it does not: Loading, Ready, Failed, Draining.

Touched by the event loop only. Imports neither numpy nor onnxruntime, so that the admin port answers while they load:
on a tenth of a core that takes seconds.
"""

import os
import time
from collections.abc import Callable
from pathlib import Path

from corefit_core.report import State


class Readiness:
    """The state of the process, a machine of few steps: whoever drains stays so.

    Attributes:
        state: as the report has it.
        reason: why it is that state, in one word; empty where it says enough.
        message: the same for people.
        startup_s: seconds from the start of the process until it was ready first; 0 until then.
    """

    def __init__(self) -> None:
        self.state: State = "Loading"
        self.reason = ""
        self.message = ""
        self.startup_s = 0.0
        self._changed: list[Callable[[], None]] = []

    def subscribe(self, changed: Callable[[], None]) -> None:
        """From now on calls this when the state is another one, or has another reason."""
        self._changed.append(changed)

    @property
    def ready(self) -> bool:
        """Whether new clients should come here."""
        return self.state == "Ready"

    @property
    def draining(self) -> bool:
        """Whether the process is on its way out."""
        return self.state == "Draining"

    def became_ready(self) -> None:
        """The model is warm."""
        self.startup_s = self.startup_s or process_age_s()
        self._become("Ready")

    def became_failed(self, reason: str, message: str) -> None:
        """The model can't be served; the process stays and tries again."""
        self._become("Failed", reason, message)

    def became_draining(self) -> None:
        """The process is on its way out."""
        self._become("Draining")

    def _become(self, state: State, reason: str = "", message: str = "") -> None:
        if not self.draining:
            self.state, self.reason, self.message = state, reason, message
            for changed in self._changed:
                changed()


def process_age_s() -> float:
    """Seconds since the process was started, its imports included."""
    after_name = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    started_s = int(after_name[19]) / os.sysconf("SC_CLK_TCK")  # proc(5): field 22, in clock ticks since boot
    return max(0.0, time.clock_gettime(time.CLOCK_BOOTTIME) - started_s)
