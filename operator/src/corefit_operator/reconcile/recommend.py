"""A stage of the reconcile: what the recommender says of what was found. May not carry it out."""

from collections.abc import Callable

import msgspec

from corefit_core.recommender import Decision, Policy, State, decide
from corefit_core.spec.serving_spec import ServingSpec
from corefit_operator.reconcile import recommender_input, schedule
from corefit_operator.resize.resizer import Resizer, ResizeState
from corefit_operator.workload.observe import Observed


class Recommendation(msgspec.Struct, frozen=True, kw_only=True):
    """What came of it.

    Attributes:
        decision: None where there is nothing to decide of.
        state: what the recommender is to remember.
    """

    decision: Decision | None
    state: State


class Recommender:
    """See the module.

    Args:
        clock: monotonic seconds.
        round_s: seconds between two looks at the same pods' reports.
    """

    def __init__(self, resizer: Resizer, clock: Callable[[], float], round_s: float) -> None:
        self._resizer = resizer
        self._clock = clock
        self._round_s = round_s

    async def recommend(
        self, spec: ServingSpec, observed: Observed, state: State, resizes: ResizeState
    ) -> Recommendation:
        """Decides.

        Raises:
            ApiError: the API server can't be asked whether pods can be resized.
        """
        if not observed.workload.is_known:
            return Recommendation(decision=None, state=state)
        policy = await self._policy(spec)
        room = await self._resizer.room(spec, observed.pods, resizes)
        now = self._clock()
        observation = recommender_input.observation(
            observed.pods, observed.latest, observed.workload.scale_target, room, now
        )
        decision, after = decide(policy, state, observation, now)
        return Recommendation(decision=decision, state=after if spec.mode == "Auto" else _not_carried_out(after))

    async def _policy(self, spec: ServingSpec) -> Policy:
        policy = msgspec.structs.replace(spec.policy, round_s=schedule.round_s(spec, self._round_s))
        if policy.cpu_range is not None and not await self._resizer.is_supported():
            return msgspec.structs.replace(policy, cpu_range=None)
        return policy


def _not_carried_out(state: State) -> State:
    """What was recommended for pods must not count as requested and not granted."""
    return msgspec.structs.replace(state, sizes=msgspec.structs.replace(state.sizes, pending=()))
