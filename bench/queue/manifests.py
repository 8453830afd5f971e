"""The service that the bench puts up. Values only."""

from collections.abc import Mapping
from typing import Any, Final

NAME: Final = "queue"
OBJECTIVE_MS: Final = 400
"""Four times what a run of 8 ms takes at most on a quarter of a core that has just used its quota up: 83 ms."""
MILLICORES: Final = 250
MOST: Final = 4


def service(example: Mapping[str, Any], balancing: str) -> dict[str, Any]:
    """One to four pods of a quarter of a core of the load model."""
    spec = {
        "model": example["spec"]["model"],
        "resources": {"cpu": f"{MILLICORES}m", "memory": "256Mi"},
        "objective": {"percentile": 99, "latencyMilliseconds": OBJECTIVE_MS},
        "scaling": {"mode": "Auto", "minReplicas": 1, "maxReplicas": MOST, "downStabilizationSeconds": 60},
        "routing": {"balancing": balancing},
    }
    return {**example, "metadata": {"name": NAME}, "spec": spec}
