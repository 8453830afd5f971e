"""The fence before writes, the order in which the program's parts end, and the look at the resource before a write."""

import asyncio
from typing import Any

import pytest

from corefit_operator.cache.freshness import confirm
from corefit_operator.cache.resync import Resync
from corefit_operator.cache.view import Key, View
from corefit_operator.concurrency.tasks import first_of
from corefit_operator.kube.api_error import ApiError
from corefit_operator.kube.cluster import Listed
from corefit_operator.kube.fence import Fence


async def test_a_fence_gives_a_write_what_is_left_and_nothing_once_it_is_closed() -> None:
    fence = Fence(lambda: 3.0)
    with fence.writing() as left_s:
        assert left_s == 3.0
    await fence.close(60.0)
    with fence.writing() as left_s:
        assert left_s == 0.0


async def test_closing_a_fence_waits_for_the_writes_on_their_way() -> None:
    fence = Fence()
    with fence.writing():
        closing = asyncio.create_task(fence.close(60.0))
        await asyncio.sleep(0)
        assert not closing.done()
    await closing


async def test_closing_a_fence_does_not_wait_for_ever() -> None:
    fence = Fence()
    with fence.writing():
        await fence.close(0.001)


async def test_the_first_that_ends_ends_all_and_its_error_is_raised() -> None:
    order: list[str] = []

    async def fails() -> None:
        raise RuntimeError("first")

    async def goes_on() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            order.append("cancelled")

    async def before_end() -> None:
        order.append("before")

    with pytest.raises(RuntimeError, match="first"):
        await first_of(goes_on, fails, before_end=before_end)
    assert order == ["before", "cancelled"]


class _Cluster:
    """What the API server would answer; the real one is asked in tests/e2e."""

    def __init__(self, newest: dict[str, Any] | None, listed: dict[str, list[dict[str, Any]]] | None = None) -> None:
        self._newest = newest
        self._listed = listed or {}

    async def get(self, kind: str, namespace: str, name: str) -> dict[str, Any] | None:
        return self._newest

    async def list(self, kind: str, namespace: str | None, *, ours: bool) -> Listed:
        return Listed(self._listed.get(kind, []), "100")


def _resource(generation: int, version: str) -> dict[str, Any]:
    meta = {"name": "a", "namespace": "n", "uid": "u", "generation": generation, "resourceVersion": version}
    return {"metadata": {**meta, "annotations": {}}}


async def test_a_view_that_is_behind_is_seen_and_mended_before_a_write() -> None:
    view, key, old, new = View(), Key("n", "a"), _resource(1, "1"), _resource(2, "5")
    view.put_service(old)
    with pytest.raises(ApiError):
        await confirm(_Cluster(new), view, key, old)  # type: ignore[arg-type]
    assert view.service(key) == new
    await confirm(_Cluster(new), view, key, new)  # type: ignore[arg-type]
    with pytest.raises(ApiError):
        await confirm(_Cluster(None), view, key, new)  # type: ignore[arg-type]
    assert view.service(key) is None


def test_an_old_answer_does_not_bring_back_a_resource_that_was_made_anew() -> None:
    view, old, new = View(), _resource(1, "1"), _resource(1, "5")
    new["metadata"]["uid"] = "another"
    view.put_service(new)
    assert view.service(view.put_service(old)) == new


async def test_a_list_is_followed_by_a_comparison_and_one_that_failed_by_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("corefit_operator.cache.resync.SETTLED_S", 0.01)
    monkeypatch.setattr("corefit_operator.cache.resync.RETRY_S", 0.01)
    view, gone = View(), asyncio.Event()
    view.put_service(_resource(1, "1"))

    class Failing(_Cluster):
        async def list(self, kind: str, namespace: str | None, *, ours: bool) -> Listed:
            if not failures:
                failures.append(kind)
                raise ApiError("the API server is away", status=503)
            return await super().list(kind, namespace, ours=ours)

    failures: list[str] = []
    resync = Resync(Failing(None, {}), view, lambda _: gone.set(), (), period_s=3600)  # type: ignore[arg-type]
    running = asyncio.create_task(resync.run())
    await asyncio.sleep(0)
    assert view.services() == (Key("n", "a"),)
    resync.relisted()
    async with asyncio.timeout(60):
        await gone.wait()
    assert (view.services(), len(failures)) == ((), 1)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


@pytest.mark.parametrize(
    ("objects", "limit_s", "seconds"), [(1, 600, 60), (1, 5, 5), (4000, 600, 200), (40000, 600, 600)]
)
async def test_the_fewer_objects_there_are_the_sooner_they_are_compared_again(
    objects: int, limit_s: float, seconds: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    view, waits = View(), list[float]()
    monkeypatch.setattr(View, "size", lambda _: objects)
    monkeypatch.setattr("random.uniform", lambda low, high: (low + high) / 2)
    resync = Resync(_Cluster(None), view, lambda _: None, (), period_s=limit_s)  # type: ignore[arg-type]

    async def due(within_s: float) -> None:
        waits.append(within_s)
        if len(waits) == 2:
            raise asyncio.CancelledError

    monkeypatch.setattr(resync, "_due", due)
    with pytest.raises(asyncio.CancelledError):
        await resync.run()
    assert waits == [seconds, seconds]


async def test_a_change_whose_event_was_lost_is_found_by_the_next_comparison() -> None:
    view, dirty = View(), list[Key]()
    view.put_service(_resource(1, "1"))
    cluster = _Cluster(None, {"InferenceService": [_resource(2, "5")]})
    await Resync(cluster, view, dirty.append, ()).once()  # type: ignore[arg-type]
    assert dirty == [Key("n", "a")]
    await Resync(cluster, view, dirty.append, ()).once()  # type: ignore[arg-type]
    assert dirty == [Key("n", "a")]
