"""A namespace that is gone keeps the operator from none of the others."""

from typing import cast

import pytest

from corefit_operator.cache import namespaces
from corefit_operator.cache.namespaces import Namespaces
from corefit_operator.cache.resync import Resync
from corefit_operator.cache.view import View
from corefit_operator.kube.api_error import ApiError
from corefit_operator.kube.cluster import Cluster, Listed


class FakeCluster:
    """Lists nothing, in the namespaces that it knows."""

    def __init__(self, *known: str, status: int = 403) -> None:
        self.known = set(known)
        self.status = status
        self.listed: list[str | None] = []

    async def list(self, kind: str, namespace: str | None, *, ours: bool) -> Listed:
        assert kind
        assert ours in (True, False)
        self.listed.append(namespace)
        if namespace is not None and namespace not in self.known:
            raise ApiError("forbidden", status=self.status)
        return Listed([], "1")

    async def may_list(self, kind: str, namespace: str) -> None:
        await self.list(kind, namespace, ours=False)


def _of(cluster: FakeCluster, *wanted: str) -> Namespaces:
    return Namespaces(cast("Cluster", cluster), wanted)


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(namespaces, "LOOK_S", 0.01)


@pytest.mark.parametrize("status", namespaces.GONE)
async def test_those_that_are_there_are_watched(status: int) -> None:
    cluster = FakeCluster("a", "c", status=status)
    assert await _of(cluster, "a", "b", "c").readable() == ("a", "c")


async def test_all_are_watched_without_a_look() -> None:
    cluster = FakeCluster()
    assert await _of(cluster).readable() == ()
    assert cluster.listed == []


async def test_while_there_is_none_it_waits() -> None:
    class Later(FakeCluster):
        async def list(self, kind: str, namespace: str | None, *, ours: bool) -> Listed:
            if len(self.listed) == 3:
                self.known.add("a")
            if len(self.listed) == 1:
                self.listed.append(namespace)
                raise ApiError("overloaded", status=503)
            return await super().list(kind, namespace, ours=ours)

    cluster = Later()
    assert await _of(cluster, "a").readable() == ("a",)
    assert cluster.listed == ["a"] * 4


async def test_one_that_comes_back_is_watched_after_a_restart() -> None:
    cluster = FakeCluster("a", "b")
    with pytest.raises(namespaces.NamespacesChanged, match="namespace b"):
        await _of(cluster, "a", "b").changed(["a"])


async def test_what_is_wrong_with_one_is_said_once_and_again_when_it_changes(caplog: pytest.LogCaptureFixture) -> None:
    """It was said every ten seconds, for as long as a namespace of the list was gone."""
    answers = iter([403, 403, 403, 503, 503, 403, 404, 0])

    class Changing(FakeCluster):
        async def list(self, kind: str, namespace: str | None, *, ours: bool) -> Listed:
            if namespace == "b":
                self.status = next(answers)
                self.known |= set() if self.status else {"b"}
            return await super().list(kind, namespace, ours=ours)

    watched = _of(Changing("a"), "a", "b")
    assert await watched.readable() == ("a",)
    with pytest.raises(namespaces.NamespacesChanged):
        await watched.changed(["a"])
    said = [record.getMessage() for record in caplog.records]
    assert [("isn't watched" in each, "yet" in each) for each in said] == [(True, False), (False, True), (True, False)]


async def test_the_comparison_goes_on_with_the_others() -> None:
    cluster = FakeCluster("c")
    resync = Resync(cluster, View(), lambda _: None, ["b", "c"])  # type: ignore[arg-type]
    await resync.once()
    assert cluster.listed[:2] == ["b", "c"]
