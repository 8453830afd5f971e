"""A stage of the reconcile: pods get the CPU that they are to have; before the replicas, since it is there at once."""

from corefit_core.recommender import Decision
from corefit_operator.cache.view import Key
from corefit_operator.resize import sizes
from corefit_operator.resize.resizer import Resizer, ResizeState
from corefit_operator.resize.sizes import Sized, SizingInput
from corefit_operator.status import events
from corefit_operator.telemetry.recorder import Recorder
from corefit_operator.workload.interface import Workload
from corefit_operator.workload.observe import Observed


class Resizes:
    """See the module."""

    def __init__(self, resizer: Resizer, recorder: Recorder) -> None:
        self._resizer = resizer
        self._recorder = recorder

    async def resize(
        self, key: Key, workload: Workload, observed: Observed, decision: Decision | None, memory: ResizeState
    ) -> Sized | None:
        """The CPU of the pods after a round of it; None where it never changes in place.

        Raises:
            ApiError: something that a retry may mend.
        """
        self._resizer.arrived(key, observed.reports, memory)
        spec, start = workload.spec, workload.start_millicores
        if spec.policy.cpu_range is None and start == spec.millicores:
            return None
        pods = sizes.started(observed.pods, observed.reports)
        sized = await self._resizer.resize(
            key, SizingInput(spec=spec, pods=pods, decision=decision, start=start), memory
        )
        for said in events.resizes(sized.steps, decision):
            await self._recorder.record(spec, memory.budget, said)
        return sized
