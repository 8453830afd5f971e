"""A stage of the reconcile: the children are brought in order, as far as turns and the API server let them."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import msgspec

from corefit_core.manifest import Manifest
from corefit_core.spec.serving_spec import ServingSpec
from corefit_operator.cache.freshness import confirm
from corefit_operator.cache.view import Key, View
from corefit_operator.children import apply
from corefit_operator.children import service as child_service
from corefit_operator.children.apply import ApplyState
from corefit_operator.children.upgrades import Upgrades
from corefit_operator.diagnosis.problem import Problem
from corefit_operator.kube.cluster import Cluster
from corefit_operator.kube.pods import Pod


class ChildrenResult(msgspec.Struct, frozen=True, kw_only=True):
    """What came of the children.

    Attributes:
        refused: why the API server, or a namesake, doesn't let one be.
        retry_s: when to look again at what is on its way out, or couldn't be written now; None when nothing is.
        upgrade_waits: the operator wants another pod template, and others are being rolled to theirs.
    """

    refused: Problem | None = None
    retry_s: float | None = None
    upgrade_waits: bool = False

    @property
    def taken(self) -> Problem | None:
        """That an object of somebody else has the name of a child: nothing may lead to that name then."""
        return self.refused if self.refused is not None and self.refused.reason == "NameTaken" else None


class Children:
    """See the module.

    Args:
        upgrades: whose pods may be rolled on the operator's own account.
        clock: monotonic seconds.
    """

    def __init__(self, cluster: Cluster, view: View, upgrades: Upgrades, clock: Callable[[], float]) -> None:
        self._cluster = cluster
        self._view = view
        self._upgrades = upgrades
        self._clock = clock

    async def settle(
        self,
        key: Key,
        raw: Mapping[str, Any],
        spec: ServingSpec,
        manifests: Sequence[Manifest],
        *,
        pods: Sequence[Pod],
        memory: ApplyState,
    ) -> ChildrenResult:
        """Brings them in order.

        Raises:
            ApiError: the view is behind, and nothing may be decided from it.
        """
        wanted = child_service.reachable(spec, manifests, pods)
        due = self._upgrades.due(key, wanted, self._view.children(key))
        applied = await apply.settle(
            self._cluster,
            self._view,
            spec,
            due,
            memory=memory,
            confirm=partial(confirm, self._cluster, self._view, key, raw),
            now=self._clock(),
        )
        waits = len(due) < len(wanted)
        return ChildrenResult(refused=applied.refused, retry_s=applied.retry_s, upgrade_waits=waits)
