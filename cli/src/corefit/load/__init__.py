"""An open-loop load generator: it sends when it said it would, however slow the answers are.

A closed loop waits for an answer before it sends again, so a server that stalls is asked less while it stalls,
and the stall is in one sample instead of in all that should have been sent ("coordinated omission"). Here the
times are fixed beforehand and latency counts from the time at which a request was meant to be sent.
"""

from corefit.load.generator import Options, run
from corefit.load.record import Kind, Recorder, Sample, Summary
from corefit.load.schedule import Step, intended_times
from corefit.load.target import Request, zeros_request

__all__ = [
    "Kind",
    "Options",
    "Recorder",
    "Request",
    "Sample",
    "Step",
    "Summary",
    "intended_times",
    "run",
    "zeros_request",
]
