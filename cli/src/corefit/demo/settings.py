"""What the demo does and for how long. Values only.

The rates fit a machine of two cores that runs the cluster, the pods and the load: a request costs about 8 ms of
CPU and a pod has a quarter of a core, so that the base load fits into one pod and four times of it does not.
"""

from pathlib import Path
from typing import Final

import msgspec

from corefit.load import Step

NAMESPACE: Final = "corefit-demo"
SYSTEM_NAMESPACE: Final = "corefit-system"
SERVICE: Final = "load-model"
DIGITS: Final = "digits"


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """One run of the demo.

    Attributes:
        root: the checkout, where charts and examples are.
        output: the folder for the picture and the samples.
        cluster: the devcluster's name.
        keep: leave the cluster running at the end.
        base_rate: requests a second at first and at last.
        factor: by how much the middle step is more.
        base_s, peak_s, back_s: seconds of the three steps. The last ends earlier, once replicas have fallen and
            stayed for `settled_s`; it may take a few times the window of 30 s in the example's resource, since on a
            machine whose CPU is taken by others a request keeps a pod busy for several times as long.
    """

    root: Path
    output: Path
    cluster: str = "demo"
    keep: bool = False
    base_rate: float = 8.0
    factor: float = 4.0
    base_s: float = 30.0
    peak_s: float = 75.0
    back_s: float = 120.0
    settled_s: float = 10.0

    @property
    def steps(self) -> tuple[Step, ...]:
        """The load: base, times `factor`, base again."""
        return (
            Step(rate=self.base_rate, duration_s=self.base_s),
            Step(rate=self.base_rate * self.factor, duration_s=self.peak_s),
            Step(rate=self.base_rate, duration_s=self.back_s),
        )


def checkout() -> Path:
    """The nearest folder from here upwards that has the charts and the examples."""
    here = Path.cwd()
    return next(
        (p for p in (here, *here.parents) if (p / "charts/corefit").is_dir() and (p / "examples").is_dir()), here
    )
