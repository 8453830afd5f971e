"""How long nothing is done when the operator that leads is killed: `make bench-failover` kills it twenty times."""

import math
import os
import statistics
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from typing import NamedTuple

import pytest
from faults.api import APPLY
from faults.arena import NAME, WATCHES, Arena, until
from faults.operators import RUNTIME, Operator, failover_s
from faults.proxy import Proxy

from corefit_core.naming import GROUP, KIND, PLURAL, VERSION

pytestmark = pytest.mark.cluster
KILLS = int(os.environ.get("KILLS", "1"))


class Candidate(NamedTuple):
    operator: Operator
    proxy: Proxy

    @property
    def wrote_at(self) -> float:
        """When it last wrote something that was taken."""
        return max((w.at for w in self.proxy.writes if 200 <= w.status < 300), default=0.0)

    @property
    def changed_at(self) -> float:
        """When it first changed the Deployment; a status that the dead leader had sent may still arrive before."""
        taken = (w.at for w in self.proxy.writes if 200 <= w.status < 300 and "/deployments/" in w.path)
        return min(taken, default=math.inf)

    def up(self) -> bool:
        return len(self.proxy.watches) >= WATCHES


class Pair:
    """Two operators with one Lease in a namespace of theirs; one that is killed comes back as the kubelet has it."""

    def __init__(self, arena: Arena, stack: ExitStack) -> None:
        self._arena = arena
        self.namespace = f"failover-{uuid.uuid4().hex[:6]}"
        arena.api("POST", "api/v1/namespaces", {"metadata": {"name": self.namespace}})
        self.candidates = [self._candidate(stack, name) for name in ("one", "two")]
        until("both watch", lambda: all(c.up() for c in self.candidates), seen=self.seen)

    def _candidate(self, stack: ExitStack, name: str) -> Candidate:
        proxy = stack.enter_context(Proxy(self._arena.wire))
        arguments = [
            "run",
            *RUNTIME,
            "--namespace",
            self.namespace,
            "--kubeconfig",
            proxy.kubeconfig(self._arena.folder),
        ]
        arguments += ["--lease", f"{self.namespace}/corefit", "--metrics-host", "127.0.0.1", "--metrics-port", "0"]
        log = self._arena.folder / f"{self.namespace}-{name}.log"
        return Candidate(stack.enter_context(Operator(self._arena.nursery, arguments, log)), proxy)

    def ask(self, label: str) -> None:
        """A change that shows in the Deployment; there are no pods."""
        spec = {
            "model": {"uri": "http://models/digits.onnx"},
            "scaling": {"mode": "Manual", "replicas": 0},
            "template": {"labels": {"seen": label}},
        }
        body = {"apiVersion": f"{GROUP}/{VERSION}", "kind": KIND, "metadata": {"name": NAME}, "spec": spec}
        path = f"apis/{GROUP}/{VERSION}/namespaces/{self.namespace}/{PLURAL}/{NAME}"
        self._arena.api("PATCH", f"{path}?fieldManager=tester&force=true", body, APPLY)

    def arrived(self, label: str) -> bool:
        found = self._arena.api.find(f"apis/apps/v1/namespaces/{self.namespace}/deployments/{NAME}")
        template = found.get("spec", {}).get("template", {}).get("metadata", {})
        return bool(template.get("labels", {}).get("seen") == label)

    def seen(self) -> str:
        return "\n".join(c.operator.log.read_text()[-2000:] for c in self.candidates)


@pytest.fixture
def pair(arena: Arena, calm: None) -> Iterator[Pair]:
    with ExitStack() as stack:
        yield Pair(arena, stack)


@pytest.mark.timeout(3600 + 60 * KILLS)
def test_another_operator_writes_within_20_s_of_the_death_of_the_one_that_leads(pair: Pair) -> None:
    found = [_failover(pair, number) for number in range(KILLS)]
    took = sorted(took_s for took_s, _ in found)
    print(f"\n{KILLS} kills, seconds until the next write: median {statistics.median(took):.1f}, all {took}")
    assert [(took_s, may_s) for took_s, may_s in found if took_s >= may_s] == []


def _changed(pair: Pair, label: str) -> float:
    """Seconds until a change has been carried out."""
    begun = time.monotonic()
    pair.ask(label)
    until(f"{label} is carried out", lambda: pair.arrived(label), seen=pair.seen)
    return time.monotonic() - begun


def _failover(pair: Pair, number: int) -> tuple[float, float]:
    """Seconds from the leader's death to the next write, by the other or by the one in its place; and what they may be.

    The requirements' 20 s, or more where every change takes longer.
    """
    _changed(pair, f"first-{number}")
    before_s = _changed(pair, f"before-{number}")
    leader = max(pair.candidates, key=lambda c: c.wrote_at)
    deaths, killed_at = len(leader.operator.codes), time.monotonic()
    leader.operator.kill()
    until("it is dead", lambda: len(leader.operator.codes) > deaths)
    for candidate in pair.candidates:
        candidate.proxy.writes.clear()
    _changed(pair, f"after-{number}")
    took = min(c.changed_at for c in pair.candidates) - killed_at
    until("the dead one is back", leader.up, seen=pair.seen)
    return round(took, 1), failover_s(max(before_s, _changed(pair, f"later-{number}")))
