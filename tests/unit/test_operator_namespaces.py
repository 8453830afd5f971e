"""A namespace that is gone keeps the operator from none of the others."""

import pytest

from corefit_operator import namespaces
from corefit_operator.api_error import ApiError
from corefit_operator.cluster import Listed
from corefit_operator.resync import Resync
from corefit_operator.view import View


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


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(namespaces, "LOOK_S", 0.01)


@pytest.mark.parametrize("status", namespaces.GONE)
async def test_those_that_are_there_are_watched(status: int) -> None:
    cluster = FakeCluster("a", "c", status=status)
    assert await namespaces.readable(cluster, ["a", "b", "c"]) == ("a", "c")  # type: ignore[arg-type]


async def test_all_are_watched_without_a_look() -> None:
    cluster = FakeCluster()
    assert await namespaces.readable(cluster, []) == ()  # type: ignore[arg-type]
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
    assert await namespaces.readable(cluster, ["a"]) == ("a",)  # type: ignore[arg-type]
    assert cluster.listed == ["a"] * 4


async def test_one_that_comes_back_is_watched_after_a_restart() -> None:
    cluster = FakeCluster("a", "b")
    with pytest.raises(namespaces.NamespacesChanged, match="namespace b"):
        await namespaces.changed(cluster, ["a", "b"], ["a"])  # type: ignore[arg-type]


async def test_the_comparison_goes_on_with_the_others() -> None:
    cluster = FakeCluster("c")
    resync = Resync(cluster, View(), lambda _: None, ["b", "c"])  # type: ignore[arg-type]
    await resync.once()
    assert cluster.listed[:2] == ["b", "c"]
