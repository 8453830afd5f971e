"""What `decide` remembers from one call to the next: each piece has one owner, the module that alone updates it.

Frozen values, serialisable by msgspec, units in the names. May not decide anything.
"""

import msgspec

from corefit_core.recommender.forecast import ForecastState
from corefit_core.recommender.measurement import PodsState
from corefit_core.recommender.placement import SizesState
from corefit_core.recommender.service_model import ServiceState
from corefit_core.recommender.slo import SloState
from corefit_core.recommender.stabilization import WindowState


class State(msgspec.Struct, frozen=True, kw_only=True):
    """What `decide` remembers between calls; an empty one is that of an operator that just started.

    Attributes:
        pods: the last counters of each pod (`measurement`).
        service: service times, start-up, pooling (`service_model`).
        forecast: samples of the load, predictions and their errors (`forecast`).
        slo: how the objective was kept (`slo`).
        window: recommendations of the stabilization window (`stabilization`).
        sizes: load and resizes that CPU of pods rests on (`placement`).
    """

    pods: PodsState = PodsState()
    service: ServiceState = ServiceState()
    forecast: ForecastState = ForecastState()
    slo: SloState = SloState()
    window: WindowState = WindowState()
    sizes: SizesState = SizesState()
