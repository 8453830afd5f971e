"""Held requests: a pod with a long queue has its resource looked at, no sooner than a look can count."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest

from corefit_core.report import LONG
from corefit_operator.cache.view import Key
from corefit_operator.collect import attention
from corefit_operator.collect.attention import SPACED_S, Attention
from corefit_operator.kube.pods import Pod

KEY = Key("n", "a")


def pod(uid: str, address: str = "10.0.0.1") -> Pod:
    raw = {"metadata": {"name": uid, "namespace": "n", "uid": uid}, "status": {"podIP": address}}
    return msgspec.convert(raw, Pod)


class Pods:
    """What each pod says, as often as it is asked; an error is raised, and without a word it holds the question."""

    def __init__(self, **says: list[Any]) -> None:
        self.says = says
        self.asked: list[str] = []
        self.addresses: list[str] = []
        self.looks: list[float] = []
        self.looked = asyncio.Event()
        self.calls = 0
        self.now = 100.0
        self.attention = Attention(self._fetch, self._look, self._called, lambda: self.now)

    async def _fetch(self, of: Pod) -> bytes:
        self.asked.append(of.metadata.uid)
        self.addresses.append(of.status.pod_ip)
        words = self.says.get(of.metadata.uid, [])
        if not words:
            await asyncio.Event().wait()
        word = words.pop(0)
        if isinstance(word, Exception):
            raise word
        return bytes(word)

    def _look(self, key: Key, seconds: float) -> None:
        assert key == KEY
        self.looks.append(seconds)
        self.looked.set()

    def _called(self, key: Key) -> None:
        assert key == KEY
        self.calls += 1

    async def settled(self) -> None:
        for _ in range(20):
            await asyncio.sleep(0)


@asynccontextmanager
async def running(pods: Pods) -> AsyncIterator[None]:
    task = asyncio.create_task(pods.attention.run())
    await asyncio.sleep(0)
    yield
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert not [t for t in asyncio.all_tasks() if t is not asyncio.current_task()], "a request is left"


async def test_a_long_queue_is_looked_at_before_the_round_and_no_sooner_than_a_look_counts() -> None:
    pods = Pods(a=[LONG], b=[b"quiet\n"])
    async with running(pods):
        pods.attention.watch(KEY, [pod("a"), pod("b")], pods.now)
        pods.now += 0.1
        await pods.settled()
        assert pods.looks == [pytest.approx(SPACED_S - 0.1)]
        assert pods.calls == 1


async def test_a_pod_is_asked_once_at_a_time_and_not_when_it_is_no_longer_there() -> None:
    pods = Pods()
    async with running(pods):
        pods.attention.watch(KEY, [pod("a"), pod("b")], pods.now)
        await pods.settled()
        pods.attention.watch(KEY, [pod("b"), pod("c")], pods.now)
        await pods.settled()
        assert sorted(pods.asked) == ["a", "b", "c"]
        pods.attention.forget(KEY)


async def test_a_look_that_counts_nothing_puts_none_off() -> None:
    """What a resize brings about is looked at at once: each pod that had grown put the next look that counts off."""
    pods = Pods(a=[LONG])
    async with running(pods):
        for later in (0.0, 1.0, 0.2, 0.2):
            pods.now += later
            pods.attention.pause(KEY)
            pods.attention.watch(KEY, [pod("a")], pods.now)
        await pods.settled()
        assert pods.looks == [pytest.approx(SPACED_S - 0.4)]


async def test_what_pods_say_while_their_resource_is_looked_at_is_seen_by_that_look() -> None:
    """Each call was followed by two looks, the second in vain: a pod is asked again at once, and says the same."""
    pods = Pods(a=[LONG])
    async with running(pods):
        pods.attention.pause(KEY)
        pods.attention.watch(KEY, [pod("a")], pods.now)
        pods.attention.pause(KEY)
        await pods.settled()
        assert pods.asked == ["a"]
        assert (pods.looks, pods.calls) == ([], 0)


async def test_a_pod_that_has_another_address_is_asked_there() -> None:
    """Its sandbox was made anew while nobody looked: the pod is the same."""
    pods = Pods()
    async with running(pods):
        pods.attention.watch(KEY, [pod("a")], pods.now)
        await pods.settled()
        pods.attention.watch(KEY, [pod("a", "10.0.0.2")], pods.now)
        await pods.settled()
        assert pods.addresses == ["10.0.0.1", "10.0.0.2"]


@pytest.mark.parametrize("wrong", [OSError("refused"), TimeoutError(), RuntimeError("a fault of ours")])
async def test_who_can_not_be_asked_is_asked_again_later(wrong: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attention, "RETRY_S", 0.0)
    monkeypatch.setattr(attention, "SPACED_S", 0.0)
    pods = Pods(a=[wrong, wrong, LONG])
    async with running(pods):
        pods.attention.watch(KEY, [pod("a")], pods.now)
        await asyncio.wait_for(pods.looked.wait(), 60)
    assert pods.asked.count("a") >= 3


async def test_a_pod_that_does_not_hold_the_question_is_not_asked_in_a_circle() -> None:
    pods = Pods(a=[b"quiet\n"] * 100)
    async with running(pods):
        pods.attention.watch(KEY, [pod("a")], pods.now)
        await pods.settled()
        assert pods.asked == ["a"]
