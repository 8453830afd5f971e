"""Random sequences of what people, operators and networks do to one resource, as a state machine of Hypothesis.

What the resource asks for in the end decides what there is, and nothing else: not the way there, not what was refused,
edited, killed or lost on it. Compared with the same resource, asked for once, under an operator that nothing disturbs.
"""

import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import Any, ClassVar

from aiohttp import web
from faults import others, schema
from faults.api import JSON, MERGE, Refused
from faults.arena import LOOK_AGAIN_S, NAME, Arena, Lane, until
from faults.moves import BASE, CHILDREN, EDITS, FAULTS, KINDS, compared, kind_of, of_kind, scales, whole, with_, without
from faults.others import Workload
from faults.proxy import WRITES, Verdict
from faults.state import difference
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from corefit_core.naming import ANNOTATION_PAUSED

FIELDS = schema.fields()
OPTIONS = ("--round-seconds", "0.5", "--resync-seconds", "20", "--injection-account", others.ACCOUNT)
"""Shorter periods than usual, so that waiting for several rounds, or for what a lost event left, takes seconds."""
UNTYPED = "failed to create typed patch object"
"""What the API server says, with status 500, to an apply with a field of a wrong type."""
SEEN_S = 3.0
"""Seconds that an operator gets at most to carry a change out before the next one comes."""


class Sequences(RuleBasedStateMachine):
    """One resource and what happens to it."""

    arena: ClassVar[Arena]
    reference: ClassVar[Lane]
    done: ClassVar[Counter[str]]

    def __init__(self) -> None:
        super().__init__()
        self._stack = ExitStack()
        self.broken: schema.Path_ | None = None
        self.exists = self.paused = self.faulty = False

    @initialize()
    def begin(self) -> None:
        self.lane = self._stack.enter_context(self.arena.lane("sequence", *OPTIONS, at_once=True))
        self.workload = _workload(self.lane)
        self._create(BASE, KINDS[self.done["begun"] % len(KINDS)])
        self._count("begun")

    @rule(data=st.data(), fields=st.lists(st.sampled_from(FIELDS), min_size=1, max_size=4))
    def change(self, data: st.DataObject, fields: list[schema.Field]) -> None:
        """One after the other."""
        for field in fields:
            spec = with_(self.spec, field.path, data.draw(field.good))
            if not whole(spec):
                continue
            taken = self._ask(spec)
            self._count("changes" if taken else "changes that rules across fields refuse")
            if taken:
                self.spec = spec

    change_more = change_still_more = change  # drawn as often as three other moves, being what most people do

    @rule(field=st.sampled_from(FIELDS))
    def leave_out(self, field: schema.Field) -> None:
        spec = without(self.spec, field.path)
        if whole(spec) and self._ask(spec):
            self.spec = spec
        self._count("fields left out")

    @rule(data=st.data(), field=st.sampled_from(FIELDS))
    def ask_for_what_the_schema_refuses(self, data: st.DataObject, field: schema.Field) -> None:
        value = data.draw(field.refused)
        assert not self._ask(with_(self.spec, field.path, value)), f"{field.path}: {value!r} was taken"
        self._count("values refused")

    @precondition(lambda self: self.broken is None)
    @rule(data=st.data(), path=st.sampled_from(sorted(schema.UNSERVABLE)))
    def ask_for_what_pods_cannot_have(self, data: st.DataObject, path: schema.Path_) -> None:
        value = data.draw(st.sampled_from(schema.UNSERVABLE[path]))
        if self._ask(with_(self.spec, path, value)):
            self.broken = path
        self._count("specs that no pod can have")

    @rule(kind=st.sampled_from(KINDS))
    def delete_and_create_anew(self, kind: str) -> None:
        self.lane.delete()
        self.exists = self.paused = False
        until("it is gone", lambda: not self.arena.api.find(self.lane.path), seen=self.lane.seen)
        self.broken = None
        self._create(self.spec, kind)
        self._count("deleted and created anew")

    @rule(data=st.data(), children=st.sampled_from(sorted(EDITS)))
    def edit_a_child(self, data: st.DataObject, children: str) -> None:
        self._child("PATCH", children, data.draw(st.sampled_from(EDITS[children])))
        self._count("children edited")

    @rule(children=st.sampled_from(sorted(EDITS)))
    def delete_a_child(self, children: str) -> None:
        self._child("DELETE", children, {"propagationPolicy": "Background"})
        self._count("children deleted")

    @precondition(lambda self: self._injects())
    @rule()
    def restart_the_workload(self) -> None:
        self.workload.restart()
        self._count("workloads of others restarted")

    @precondition(lambda self: self._injects())
    @rule()
    def make_the_workload_anew(self) -> None:
        self.workload.remove()
        until("it is gone", lambda: not self.arena.api.find(self.workload.path), seen=self.lane.seen)
        self.workload.make()
        self._count("workloads of others made anew")

    @precondition(lambda self: self._injects() and not scales(self.spec))
    @rule(replicas=st.integers(0, schema.PODS))
    def scale_the_workload(self, replicas: int) -> None:
        """Where Corefit doesn't, and knows that; else it would speak of it for ten minutes."""
        if self._looked_at():
            self.workload.scale(replicas)
            self._count("workloads of others scaled")

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
            if not self._injects():  # where only the API server that is to make pods of others would see it
                until("it says that it can't", self._says_why_not, seen=self.lane.seen)
            assert self._ask(self.spec), self.refusal
        _asked_once(self.reference, self.spec)
        if not scales(self.spec):
            name = Workload.NAME if self._injects() else NAME  # whose replicas aren't Corefit's to say then
            for lane in (self.lane, self.reference):
                others.scale(self.arena.api, lane.namespace, name, 1)
                if self.spec.get("routing", {}).get("balancing") == "Auto":  # nor is the balancer then
                    others.take_balancer(self.arena.api, lane.namespace, NAME)
        until("it is as if it had been asked for once", self._same, seen=self._difference)
        self._count("compared")
        self._count(f"compared, {kind_of(self.spec)}")

    def _same(self) -> bool:
        if self._injects():
            for lane in (self.lane, self.reference):
                _workload(lane).renew()  # which is for those to do whose pods they are
        return not self._differences()

    def _differences(self) -> list[str]:
        return difference(*(compared(lane.state(history=False), self.spec) for lane in (self.reference, self.lane)))

    def _difference(self) -> str:
        return "\n".join([f"spec: {self.spec}", *self._differences(), self.lane.seen()])

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
            self.refusal = str(refused)
            return False
        self.exists = True
        if self.broken is not None:
            self._count("recovered from what no pod can have")
        self.broken = None
        return True

    def _create(self, spec: Mapping[str, Any], kind: str) -> None:
        self.spec = of_kind(spec, kind)
        assert self._ask(self.spec)
        if self._injects():
            self.workload.make()

    def _injects(self) -> bool:
        return kind_of(self.spec) == KINDS[2]

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
    workload = _workload(lane)
    workload.remove()
    if lane.arena.api.find(lane.path):
        lane.delete()
    left: Callable[[], dict[str, Any]] = lambda: {k: v for k, v in lane.state().items() if not k.endswith("/default")}  # noqa: E731
    until("nothing is left", lambda: not left(), seen=lambda: str(left().keys()))
    lane.put(**spec)
    if kind_of(spec) == KINDS[2]:
        until("it says what goes into pods", workload.offered, seen=lane.seen)
        workload.make()
        until("the workload serves", workload.serves, seen=lane.seen)
    until("it serves", lane.serves, seen=lane.seen)


def _workload(lane: Lane) -> Workload:
    return Workload(lane.arena.api, lane.namespace, NAME)
