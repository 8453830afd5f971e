"""The comparison with lists: an object that can't be read is nobody else's trouble."""

from typing import Any

from corefit_core.naming import LABEL_SERVICE
from corefit_operator.cache.resync import Resync
from corefit_operator.cache.view import Key, View
from corefit_operator.kube.cluster import Listed

KEY = Key("n", "digits")


def _meta(name: str) -> dict[str, Any]:
    owner = {"uid": "s", "controller": True}
    meta = {"name": name, "namespace": "n", "uid": name, "resourceVersion": "1", "labels": {LABEL_SERVICE: "digits"}}
    return {**meta, "ownerReferences": [owner]}


class FakeCluster:
    """Two pods and two Deployments, the first of which have fields of other types than they may have."""

    async def list(self, kind: str, namespace: str | None, *, ours: bool) -> Listed:
        found = {
            "Pod": [{"metadata": _meta("a"), "status": {"phase": 7}}, {"metadata": _meta("b")}],
            "Deployment": [{"metadata": _meta("a"), "spec": {"replicas": "many"}}, {"metadata": _meta("b")}],
        }
        return Listed(found.get(kind, []), "2")


async def test_what_cannot_be_read_is_left_out_and_the_rest_is_taken_in() -> None:
    view = View()
    view.put_service({"metadata": {"name": "digits", "namespace": "n", "uid": "s"}})
    await Resync(FakeCluster(), view, lambda _: None, ()).once()  # type: ignore[arg-type]
    assert [pod.metadata.name for pod in view.pods(KEY)] == ["b"]
    assert set(view.children(KEY)) == {("Deployment", "b")}
