"""The recommender: how many replicas the reports ask for. Pure; `now` is an argument everywhere."""

from corefit_core.recommender.decision import decide
from corefit_core.recommender.state import State
from corefit_core.recommender.types import (
    NAIVE_THROUGHPUT,
    CpuRange,
    Decision,
    Load,
    Observation,
    PodObservation,
    Policy,
    Price,
)

__all__ = [
    "NAIVE_THROUGHPUT",
    "CpuRange",
    "Decision",
    "Load",
    "Observation",
    "PodObservation",
    "Policy",
    "Price",
    "State",
    "decide",
]
