"""For mode Sidecar: whether the cluster offers the sidecar, and which workload is scaled.

Looks, and keeps the list of names by which `kubectl apply` is warned. May not decide anything.
"""

import asyncio
import logging
import math
from collections.abc import Callable, Coroutine, Iterable, Mapping
from itertools import zip_longest
from typing import Any, Final, Literal

import msgspec

from corefit_core import naming
from corefit_core.spec.serving_spec import ServingSpec
from corefit_operator.cache.view import Key, View
from corefit_operator.children.defaults import Defaults
from corefit_operator.kube.api_error import ApiError
from corefit_operator.kube.cluster import Cluster
from corefit_operator.kube.workloads import Child, decode_child

LOG: Final = logging.getLogger(__name__)
FRESH_S: Final = 30.0
"""Seconds that an answer about autoscalers and about the API server's version is taken for true: both are changed
by people, and a reconcile comes every few seconds."""

LIST_MAX: Final = 200_000
"""Characters of the list of names: annotations of an object may have 256 KiB together."""
LIST_SMALL: Final = 10_000
LIST_PER_S: Final = 20_000
"""A list of more characters than the first waits, a second for each of the others: whoever creates and deletes one
resource again and again would otherwise have 200 KB written each time, in a namespace that is not theirs."""


Offer = Literal["AtAdmission", "NotServed", "NotInstalled"]


class Surroundings(msgspec.Struct, frozen=True, kw_only=True):
    """What was found around a resource of mode Sidecar.

    Attributes:
        offer: how pods come by the sidecar.
        workload: what scaling.targetRef names; None when it names none, or one that isn't there or doesn't consent.
        consents: False when the workload is there and doesn't name the resource.
        autoscaler: the HorizontalPodAutoscaler that scales it already; empty when there is none.
    """

    offer: Offer
    workload: Child | None = None
    consents: bool = True
    autoscaler: str = ""


class _Kept(msgspec.Struct, frozen=True):
    """An answer, and when it came."""

    at: float
    value: Any


class Sidecars:
    """What is known of mode Sidecar in this cluster.

    Args:
        account: the operator's ServiceAccount, whose annotation holds the names that can be injected; empty where
            the admission policies are not installed.
        clock: monotonic seconds.
    """

    def __init__(
        self, cluster: Cluster, view: View, defaults: Defaults, account: str, clock: Callable[[], float]
    ) -> None:
        self._cluster = cluster
        self._view = view
        self._defaults = defaults
        self._account = account
        self._clock = clock
        self._answers: dict[str, _Kept] = {}
        self._asking: dict[str, asyncio.Future[Any]] = {}
        self._listed: frozenset[Key] | None = None
        self._list_again_at = -math.inf
        self._lock = asyncio.Lock()

    async def look(self, spec: ServingSpec) -> Surroundings:
        """What is around one resource.

        Raises:
            ApiError: the API server can't be asked.
        """
        found = await self._workload(spec)
        has_consent = found is None or consents(found, spec)
        workload = found if has_consent else None
        return Surroundings(
            offer=await self._offer(),
            workload=workload,
            consents=has_consent,
            autoscaler=await self._autoscaler(spec) if workload is not None else "",
        )

    async def keep_list(self) -> None:
        """Brings the list of names that can be injected up to date: only a warning depends on it."""
        if not (self._account and self._defaults.operator_namespace):
            return
        async with self._lock:
            wanted = self._view.of_mode("Sidecar")
            if wanted is self._listed or self._clock() < self._list_again_at:
                return  # each reconcile asks, so it must not cost more with more resources
            listed = f",{','.join(names(wanted))},"
            try:
                await self._cluster.apply(self._list(listed))
            except ApiError as error:
                self._list_again_at = self._clock() + FRESH_S
                LOG.warning("the list of sidecars for warnings is not up to date: %s", error)
            else:
                self._listed = wanted
                self._list_again_at = self._clock() + max(0, len(listed) - LIST_SMALL) / LIST_PER_S

    def _list(self, listed: str) -> Mapping[str, Any]:
        return {
            "apiVersion": "v1",
            "kind": "ServiceAccount",
            "metadata": {
                "name": self._account,
                "namespace": self._defaults.operator_namespace,
                "annotations": {naming.ANNOTATION_INJECTABLE: listed},
            },
        }

    async def _offer(self) -> Offer:
        served = await self._fresh("served", self._cluster.injects)
        if not served:
            return "NotServed"
        return "AtAdmission" if self._account else "NotInstalled"

    async def _workload(self, spec: ServingSpec) -> Child | None:
        target = spec.target
        if target is None:
            return None
        raw = await self._cluster.get(target.kind, spec.namespace, target.name)
        return decode_child(target.kind, raw) if raw is not None else None

    async def _autoscaler(self, spec: ServingSpec) -> str:
        async def autoscalers() -> list[dict[str, Any]]:
            listed = await self._cluster.list("HorizontalPodAutoscaler", spec.namespace, ours=False)
            return listed.items

        target = spec.target
        for item in await self._fresh(f"autoscalers/{spec.namespace}", autoscalers):
            scaled = item["spec"]["scaleTargetRef"]
            if target is not None and (scaled.get("kind"), scaled.get("name")) == (target.kind, target.name):
                return str(item["metadata"]["name"])
        return ""

    async def _fresh(self, what: str, ask: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
        """An answer that is not old; one request serves, however many resources want it at the same time."""
        kept = self._answers.get(what)
        if kept is not None and self._clock() - kept.at <= FRESH_S:
            return kept.value
        asking = self._asking.get(what)
        if asking is None:
            asking = self._asking[what] = asyncio.ensure_future(ask())
            asking.add_done_callback(lambda _: self._asking.pop(what))
        value = await asyncio.shield(asking)
        self._answers[what] = _Kept(self._clock(), value)
        return value


def consents(workload: Child, spec: ServingSpec) -> bool:
    """Whether whoever owns a workload lets the resource scale it.

    Whoever may create a resource could otherwise stop any workload of the namespace, and read its figures.
    """
    label = workload.spec.template.metadata.labels.get(naming.LABEL_INJECT)
    injects = label == naming.label_value(spec.name)
    return injects or workload.metadata.annotations.get(naming.ANNOTATION_SCALED_BY) == spec.name


def names(keys: Iterable[Key]) -> list[str]:
    """Resources as the admission policy looks them up: NAMESPACE/NAME, by the label's value.

    An object has room for about 2,000. Where there are more, namespaces take turns: those with few keep all of theirs.
    """
    by_namespace: dict[str, list[str]] = {}
    for key in sorted(keys):
        by_namespace.setdefault(key.namespace, []).append(f"{key.namespace}/{naming.child_name(key.name)}")
    turns = (name for turn in zip_longest(*by_namespace.values()) for name in turn if name is not None)
    kept, left = [], LIST_MAX
    for name in turns:
        left -= len(name) + 1
        if left < 0:
            break
        kept.append(name)
    return sorted(kept)
