"""The ways in which reports can be wrong or late."""

import msgspec


class Flaws(msgspec.Struct, frozen=True, kw_only=True):
    """What is wrong with the reports.

    Attributes:
        late_s: each report is so many seconds old when it is read.
        silent: the share of pods that does not answer, another draw for each pod and round.
        service_factor: the measured service time over the true one.
    """

    late_s: float = 0.0
    silent: float = 0.0
    service_factor: float = 1.0
