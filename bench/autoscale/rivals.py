"""The policies that are compared, and what an unsized pod is worth."""

import json
from pathlib import Path
from typing import Final, NamedTuple

from corefit_core.recommender import NAIVE_THROUGHPUT

HPA: Final = tuple(f"hpa:{target}" for target in range(30, 91, 10))
KPA: Final = tuple(f"kpa:{target}" for target in range(50, 91, 10))
RAY: Final = ("ray", "ray:70")
RIVALS: Final = (*HPA, *KPA, *RAY)
POLICIES: Final = ("corefit", "clairvoyant", "static", "naive", *RIVALS)
MEASURED: Final = Path(__file__).parents[1] / "results" / "runtime" / "results.json"
EXPERIMENT, FINDING = "limit of 1 CPU", "throughput, sized / naive, 16 clients"
"""With that many an unsized pod wastes least: the fewest of the savings that are claimed."""


class Share(NamedTuple):
    """An unsized pod's throughput over a sized one's, and where that is from."""

    value: float
    source: str


def naive_share(path: Path = MEASURED) -> Share:
    """As the runtime's bench measured it last under a limit of one CPU; without it the recommender's default."""
    if path.exists():
        for run in json.loads(path.read_text()):
            for found in run["findings"]:
                if (found["experiment"], found["name"]) == (EXPERIMENT, FINDING) and found["value"] > 0:
                    load = run["conditions"]["load_average"][0]
                    times = f"sized {found['value']:.1f} times unsized, `make bench`, load average {load:.1f}"
                    return Share(1 / found["value"], times)
    return Share(NAIVE_THROUGHPUT, "the recommender's default: no results of `make bench`")
