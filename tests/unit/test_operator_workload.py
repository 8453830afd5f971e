"""A reconcile knows a workload by its interface alone: it works for a kind that no other package has heard of."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import pytest
from unit.test_operator_reconcile import World

from corefit_core.manifest import Manifest
from corefit_core.naming import LABEL_SERVICE
from corefit_core.spec.serving_spec import ServingSpec
from corefit_operator.children.defaults import Defaults
from corefit_operator.diagnosis.condition import ConditionValue
from corefit_operator.kube.pods import Pod, decode_pod
from corefit_operator.kube.workloads import Child, decode_child
from corefit_operator.workload import kinds
from corefit_operator.workload.interface import Situation, Sources

JOBS = {"metadata": {"name": "jobs", "namespace": "n", "uid": "j", "resourceVersion": "1"}, "spec": {"replicas": 1}}


class Observed(msgspec.Struct, frozen=True):
    """A StatefulSet that is scaled, and of whose pods little is known."""

    scale_target: Child | None = decode_child("StatefulSet", JOBS)
    is_known: bool = True
    is_scalable: bool = True
    is_cached: bool = False
    sidecar: Manifest | None = None
    stale: int | None = None

    def serving(self, ready: int) -> int:
        return ready

    def is_idle(self, present: int) -> bool:
        return False

    def ready(self, situation: Situation) -> ConditionValue:
        return ConditionValue("Ready", "False", "Queued", f"{situation.present} pods wait for work.")

    def progressing(self, situation: Situation) -> ConditionValue:
        return ConditionValue("Progressing", "True", "Complete", "There is nothing to roll out.")

    def injectable(self) -> ConditionValue | None:
        return None

    def not_scaling(self) -> ConditionValue | None:
        return None


class Queue(msgspec.Struct, frozen=True):
    spec: ServingSpec
    defaults: Defaults
    children: tuple[Manifest, ...] = ()
    start_millicores: int = 1000

    @property
    def selector(self) -> Mapping[str, str]:
        return {"queue": self.spec.name}

    def owns(self, pod: Pod) -> bool:
        return pod.metadata.name.startswith("jobs-")

    async def offer(self, sources: Sources) -> None:
        return

    async def observe(self, sources: Sources, live: Sequence[Pod], *, allowed: bool) -> Observed:
        return Observed()


async def test_another_kind_of_workload_is_reconciled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kinds, "of", Queue)
    world = World()
    for name in ("jobs-0", "stranger"):
        meta: dict[str, Any] = {"name": name, "uid": name, "namespace": "n", "labels": {LABEL_SERVICE: "a"}}
        world.view.put_pod(decode_pod({"metadata": meta}))
    await world.reconcile()
    assert world.calls == ["scale to 3", "status"]
    assert (world.status["state"], world.status["selector"], world.status["replicas"]) == ("Queued", "queue=a", 1)
    assert world.condition("Ready") == ("False", "Queued")
