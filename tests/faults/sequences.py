"""Random sequences of what people, operators and networks do to one resource, as a state machine of Hypothesis.

What the resource asks for in the end decides what there is, and nothing else: not the way there, not what was refused,
edited, killed or lost on it. Compared with the same resource, asked for once, under an operator that nothing disturbs.
"""

import copy
import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import Any, ClassVar

from aiohttp import web
from faults import schema, state
from faults.api import JSON, MERGE, Refused
from faults.arena import LOOK_AGAIN_S, NAME, Arena, Lane, until
from faults.proxy import LOSE, REFUSE, WRITES, Reply, Verdict
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from corefit_core.naming import ANNOTATION_PAUSED, LABEL_SERVICE

BASE: Mapping[str, Any] = {
    "model": {"uri": "http://models/digits.onnx"},
    "resources": {"cpu": "200m", "memory": "256Mi"},
    "scaling": {"mode": "Manual", "replicas": 1, "maxReplicas": schema.PODS, "downStabilizationSeconds": 0},
}
FIELDS = schema.fields()
OPTIONS = ("--round-seconds", "0.5", "--resync-seconds", "20")
"""Shorter than usual, so that waiting for several rounds, or for what a lost event left, takes seconds."""
UNTYPED = "failed to create typed patch object"
"""What the API server says, with status 500, to an apply with a field of a wrong type."""
SEEN_S = 3.0
"""Seconds that an operator gets at most to carry a change out before the next one comes."""
APPS, CORE = "apis/apps/v1", "api/v1"
CHILDREN = {
    "deployments": APPS,
    "services": CORE,
    "serviceaccounts": CORE,
    "poddisruptionbudgets": "apis/policy/v1",
    "networkpolicies": "apis/networking.k8s.io/v1",
}
EDITS: Mapping[str, tuple[dict[str, Any], ...]] = {
    "deployments": (
        {"metadata": {"labels": {LABEL_SERVICE: None}}},
        {"metadata": {"annotations": None}},
        {"metadata": {"ownerReferences": None}},
        {"spec": {"progressDeadlineSeconds": 5, "minReadySeconds": 0}},
        {"spec": {"template": {"spec": {"terminationGracePeriodSeconds": 1}}}},
    ),
    "services": (
        {"spec": {"selector": {"app": "other"}}},
        {"spec": {"ports": [{"name": "http", "port": 81, "targetPort": 81}]}},
    ),
    "serviceaccounts": ({"automountServiceAccountToken": True}, {"metadata": {"labels": None}}),
    "poddisruptionbudgets": ({"spec": {"maxUnavailable": 3}}, {"metadata": {"ownerReferences": None}}),
    "networkpolicies": ({"spec": {"ingress": []}}, {"spec": {"policyTypes": ["Egress"]}}),
}
"""What somebody does to children by hand, as merge patches. Fields that Corefit never set it leaves alone, so none."""
FAULTS: Mapping[str, Verdict] = {
    "the answer is lost": LOSE,
    "the connection is": REFUSE,
    "conflict": Reply(409),
    "too many requests": Reply(429, {"Retry-After": "1"}),
    "an error": Reply(500),
    "not available": Reply(503),
}


class Sequences(RuleBasedStateMachine):
    """One resource and what happens to it."""

    arena: ClassVar[Arena]
    reference: ClassVar[Lane]
    done: ClassVar[Counter[str]]

    def __init__(self) -> None:
        super().__init__()
        self._stack = ExitStack()
        self.spec = copy.deepcopy(dict(BASE))
        self.broken: schema.Path_ | None = None
        self.exists = self.paused = self.faulty = False

    @initialize()
    def begin(self) -> None:
        self.lane = self._stack.enter_context(self.arena.lane("sequence", *OPTIONS, at_once=True))
        self._ask(self.spec)

    @rule(data=st.data(), fields=st.lists(st.sampled_from(FIELDS), min_size=1, max_size=4))
    def change(self, data: st.DataObject, fields: list[schema.Field]) -> None:
        """One after the other."""
        for field in fields:
            spec = _with(self.spec, field.path, data.draw(field.good))
            taken = self._ask(spec)
            self._count("changes" if taken else "changes that rules across fields refuse")
            if taken:
                self.spec = spec

    @rule(field=st.sampled_from(FIELDS))
    def leave_out(self, field: schema.Field) -> None:
        spec = _without(self.spec, field.path)
        if self._ask(spec):
            self.spec = spec
        self._count("fields left out")

    @rule(data=st.data(), field=st.sampled_from(FIELDS))
    def ask_for_what_the_schema_refuses(self, data: st.DataObject, field: schema.Field) -> None:
        value = data.draw(field.refused)
        assert not self._ask(_with(self.spec, field.path, value)), f"{field.path}: {value!r} was taken"
        self._count("values refused")

    @precondition(lambda self: self.broken is None)
    @rule(data=st.data(), path=st.sampled_from(sorted(schema.UNSERVABLE)))
    def ask_for_what_pods_cannot_have(self, data: st.DataObject, path: schema.Path_) -> None:
        value = data.draw(st.sampled_from(schema.UNSERVABLE[path]))
        if self._ask(_with(self.spec, path, value)):
            self.broken = path
        self._count("specs that no pod can have")

    @rule()
    def delete_and_create_anew(self) -> None:
        self.lane.delete()
        self.exists = self.paused = False
        until("it is gone", lambda: not self.arena.api.find(self.lane.path), seen=self.lane.seen)
        self.broken = None
        assert self._ask(self.spec)
        self._count("deleted and created anew")

    @rule(data=st.data(), children=st.sampled_from(sorted(EDITS)))
    def edit_a_child(self, data: st.DataObject, children: str) -> None:
        self._child("PATCH", children, data.draw(st.sampled_from(EDITS[children])))
        self._count("children edited")

    @rule(children=st.sampled_from(sorted(EDITS)))
    def delete_a_child(self, children: str) -> None:
        self._child("DELETE", children, {"propagationPolicy": "Background"})
        self._count("children deleted")

    @rule(number=st.sampled_from((signal.SIGKILL, signal.SIGTERM)))
    def restart_the_operator(self, number: signal.Signals) -> None:
        self.lane.operator.signal(number)
        self._count(f"restarts by {number.name}")

    @precondition(lambda self: not self.paused)
    @rule()
    def pause(self) -> None:
        self._annotate("true")
        self._count("paused")

    @precondition(lambda self: self.paused)
    @rule()
    def resume(self) -> None:
        self._annotate(None)
        self._count("resumed")

    @rule(kind=st.sampled_from(sorted(FAULTS)), share=st.sampled_from((0.1, 0.3, 0.6)), seed=st.integers(0, 2**32))
    def disturb(self, kind: str, share: float, seed: int) -> None:
        dice = random.Random(seed)  # noqa: S311 - repeats what Hypothesis drew
        reads = kind != "conflict"  # which only writes meet

        def judge(request: web.Request) -> Verdict:
            struck = (reads or request.method in WRITES) and not request.query.get("watch") and dice.random() < share
            return FAULTS[kind] if struck else None

        self.lane.proxy.judge = judge
        self.faulty = True
        self._count("faults on")

    @precondition(lambda self: self.faulty)
    @rule()
    def disturb_no_more(self) -> None:
        self._undisturbed()
        self._count("faults off")

    @rule()
    def cut_the_watches(self) -> None:
        self.lane.proxy.cut_watches()
        self._count("watches cut")

    @rule()
    def give_it_time(self) -> None:
        """Most changes come before the last one was carried out; some don't."""
        end = time.monotonic() + SEEN_S
        while not self._looked_at() and time.monotonic() < end:
            time.sleep(LOOK_AGAIN_S)
        self._count("waited for")

    def teardown(self) -> None:
        """The end of each sequence: nothing disturbs any more, and all is as the resource asks for."""
        try:
            if self.exists:
                self._compare()
        finally:
            self._stack.close()

    def _compare(self) -> None:
        self._undisturbed()
        if self.paused:
            self._annotate(None)
        if self.broken is not None:
            until("it says that it can't", self._says_why_not, seen=self.lane.seen)
            assert self._ask(self.spec)
            self._count("recovered from what no pod can have")
        _asked_once(self.reference, self.spec)
        if self.spec.get("scaling", {}).get("mode") == "Recommend":
            for lane in (self.lane, self.reference):
                _scaled(lane, 1)  # the one thing that isn't Corefit's to say in this mode
        until("it is as if it had been asked for once", self._same, seen=self._difference)
        self._count("compared")

    def _same(self) -> bool:
        return not state.difference(self.reference.state(history=False), self.lane.state(history=False))

    def _difference(self) -> str:
        lines = state.difference(self.reference.state(history=False), self.lane.state(history=False))
        return "\n".join([f"spec: {self.spec}", *lines, self.lane.seen()])

    def _says_why_not(self) -> bool:
        said = self._condition("Progressing")
        return said.get("status") == "False" and said.get("observedGeneration") == self._generation()

    def _looked_at(self) -> bool:
        return bool(self._condition("Progressing").get("observedGeneration") == self._generation())

    def _generation(self) -> int:
        return int(self.arena.api.get(self.lane.path)["metadata"]["generation"])

    def _condition(self, kind: str) -> dict[str, Any]:
        conditions = self.arena.api.get(self.lane.path).get("status", {}).get("conditions", ())
        return next((c for c in conditions if c["type"] == kind), {})

    def _ask(self, spec: Mapping[str, Any]) -> bool:
        """Whether the API server takes it."""
        try:
            self.lane.put(**spec)
        except Refused as refused:
            if refused.status not in (400, 422) and UNTYPED not in str(refused):
                raise
            return False
        self.exists = True
        self.broken = None
        return True

    def _child(self, method: str, children: str, body: dict[str, Any]) -> None:
        path = f"{CHILDREN[children]}/namespaces/{self.lane.namespace}/{children}/{NAME}"
        try:
            self.arena.api(method, path, body, MERGE if method == "PATCH" else JSON)
        except Refused as refused:
            if refused.status != 404:  # it has yet to be made
                raise

    def _annotate(self, value: str | None) -> None:
        self.arena.api("PATCH", self.lane.path, {"metadata": {"annotations": {ANNOTATION_PAUSED: value}}}, MERGE)
        self.paused = value is not None

    def _undisturbed(self) -> None:
        self.lane.proxy.judge = lambda _: None
        self.faulty = False

    def _count(self, what: str) -> None:
        self.done[what] += 1


def _asked_once(lane: Lane, spec: Mapping[str, Any]) -> None:
    """Brings a lane to where nothing was before, and asks for this."""
    if lane.arena.api.find(lane.path):
        lane.delete()
    left: Callable[[], dict[str, Any]] = lambda: {k: v for k, v in lane.state().items() if not k.endswith("/default")}  # noqa: E731
    until("nothing is left", lambda: not left(), seen=lambda: str(left().keys()))
    lane.put(**spec)
    until("it serves", lane.serves, seen=lane.seen)


def _scaled(lane: Lane, replicas: int) -> None:
    """By a person."""
    path = f"{APPS}/namespaces/{lane.namespace}/deployments/{NAME}"
    lane.arena.api("PATCH", path, {"spec": {"replicas": replicas}}, MERGE)


def _with(spec: Mapping[str, Any], path: schema.Path_, value: Any) -> dict[str, Any]:
    changed = copy.deepcopy(dict(spec))
    node = changed
    for step in path[:-1]:
        node = node.setdefault(step, {})
    node[path[-1]] = value
    return changed


def _without(spec: Mapping[str, Any], path: schema.Path_) -> dict[str, Any]:
    changed = copy.deepcopy(dict(spec))
    node = changed
    for step in path[:-1]:
        node = node.get(step, {})
    node.pop(path[-1], None)
    return changed
