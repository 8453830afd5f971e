"""The machinery around the reconcile: the queue of dirty resources, the view, the collector."""

import asyncio
import resource
from typing import Any

import pytest

from corefit_core import naming, report
from corefit_core.report import ModelIdentity, PlanInForce, Report
from corefit_operator.cache.view import Key, View
from corefit_operator.collect.collector import Collector
from corefit_operator.concurrency.workqueue import WorkQueue
from corefit_operator.kube.api_error import ApiError
from corefit_operator.kube.pods import Pod, decode_pod
from corefit_operator.kube.workloads import Child, decode_child
from corefit_operator.main import open_files
from corefit_operator.process.controller import Controller
from corefit_operator.telemetry.metrics import Metrics


async def test_a_key_added_twice_is_handed_out_once() -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.add("a")
    queue.add("a")
    queue.add("b")
    assert [await queue.get(), await queue.get()] == ["a", "b"]
    assert len(queue) == 0


async def test_a_key_added_while_it_is_worked_on_comes_again_afterwards_and_not_before() -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.add("a")
    await queue.get()
    queue.add("a")
    waiting = asyncio.create_task(queue.get())
    await asyncio.sleep(0)
    assert not waiting.done()
    queue.done("a")
    assert await waiting == "a"


async def test_the_earlier_of_two_timers_counts_and_adding_now_cancels_it() -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.add_after("a", 3600)
    queue.add_after("a", 0.001)
    assert await queue.get() == "a"
    queue.done("a")
    queue.add_after("a", 3600)
    queue.add("a")
    assert await queue.get() == "a"
    queue.done("a")
    assert len(queue) == 0


async def test_what_changed_goes_before_what_is_due_and_does_not_silence_it() -> None:
    queue: WorkQueue[str] = WorkQueue()
    for key in ("due1", "due2", "due3"):
        queue.add_after(key, 0.0)
    await asyncio.sleep(0.01)  # later timers fire later
    for number in range(8):
        queue.add(f"changed{number}")
    handed = [await queue.get() for _ in range(11)]
    first = [f"changed{number}" for number in range(8)]
    assert handed == [*first[:3], "due1", *first[3:6], "due2", *first[6:], "due3"]


async def test_a_due_key_that_something_happens_to_moves_forward_and_comes_once() -> None:
    queue: WorkQueue[str] = WorkQueue()
    for key in ("due", "other"):
        queue.add_after(key, 0.0)
    await asyncio.sleep(0.01)  # later timers fire later
    queue.add("other")
    assert [await queue.get(), await queue.get()] == ["other", "due"]
    assert len(queue) == 0


async def test_a_namespace_with_many_dirty_keys_holds_up_no_other() -> None:
    queue: WorkQueue[Key] = WorkQueue(lambda key: key.namespace, share=2)
    for number in range(300):
        queue.add(Key("greedy", str(number)))
    queue.add(Key("honest", "a"))
    queue.add(Key("honest", "b"))
    handed = [await queue.get() for _ in range(4)]
    assert [key.namespace for key in handed] == ["greedy", "honest", "greedy", "honest"]
    waiting = asyncio.create_task(queue.get())
    await asyncio.sleep(0)
    assert not waiting.done()  # both have their share
    queue.add(Key("another", "a"))
    assert await waiting == Key("another", "a")
    queue.done(handed[1])
    queue.add(Key("honest", "a"))
    assert await queue.get() == Key("honest", "a")
    queue.done(handed[0])
    assert (await queue.get()).namespace == "greedy"


async def test_an_error_of_one_resource_does_not_disturb_another() -> None:
    queue: WorkQueue[Key] = WorkQueue()
    good, bad, broken = Key("n", "good"), Key("n", "bad"), Key("n", "broken")
    seen: list[Key] = []
    worked = asyncio.Event()

    async def reconcile(key: Key) -> float | None:
        seen.append(key)
        if key == bad:
            raise ApiError("no", status=503, retry_after_s=3600.0)
        if key == broken:
            raise RuntimeError("a fault")
        worked.set()
        return None

    controller = asyncio.create_task(Controller(queue, reconcile, Metrics()).run())
    for key in (bad, broken, good):
        queue.add(key)
    async with asyncio.timeout(30):
        await worked.wait()
    controller.cancel()
    await asyncio.gather(controller, return_exceptions=True)
    assert set(seen[:3]) == {good, bad, broken}
    assert seen.count(bad) == 1  # the API server asked for an hour


@pytest.mark.parametrize(
    ("status", "message", "refused"),
    [
        (422, "Invalid", True),
        (409, "Conflict", False),
        (500, "etcdserver: request timed out", False),
        (500, "failed to create typed patch object (n/a; apps/v1, Kind=Deployment): expected map, got &{5}", True),
        (503, "", False),
        (0, "", False),
    ],
)
def test_what_will_be_refused_again_is_told_from_what_a_retry_may_mend(
    status: int, message: str, refused: bool
) -> None:
    assert ApiError(message, status=status).refused is refused


async def test_what_the_api_server_asks_to_wait_is_waited_and_no_less() -> None:
    queue: WorkQueue[Key] = WorkQueue()
    waits: list[float] = []
    enough = asyncio.Event()

    def add_after(key: Key, seconds: float) -> None:
        waits.append(seconds)
        queue.add(key)
        if len(waits) == 20:
            enough.set()

    async def reconcile(_: Key) -> float | None:
        raise ApiError("slower", status=429, retry_after_s=100.0)

    queue.add_after = add_after  # type: ignore[method-assign]
    queue.add(Key("ns", "a"))
    controller = asyncio.create_task(Controller(queue, reconcile, Metrics()).run())
    await asyncio.wait_for(enough.wait(), 60)
    controller.cancel()
    assert min(waits) >= 100
    assert max(waits) > min(waits)  # not all of them at once


async def test_resources_that_wait_for_a_silent_pod_hold_up_no_other() -> None:
    queue: WorkQueue[Key] = WorkQueue()
    done, silent = asyncio.Event(), [Key("n", f"silent{number}") for number in range(100)]

    async def reconcile(key: Key) -> float | None:
        if key in silent:
            await asyncio.Event().wait()
        done.set()
        return None

    controller = asyncio.create_task(Controller(queue, reconcile, Metrics()).run())
    for key in (*silent, Key("n", "answers")):
        queue.add(key)
    async with asyncio.timeout(30):
        await done.wait()
    controller.cancel()
    await asyncio.gather(controller, return_exceptions=True)


def test_a_process_takes_all_the_open_files_that_it_may_have() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, 256), hard))
    try:
        open_files()
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (hard, hard)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def _meta(name: str, version: int, uid: str = "u", service: str = "a") -> dict[str, Any]:
    labels = {naming.LABEL_SERVICE: service}
    return {"name": name, "namespace": "n", "uid": uid, "resourceVersion": str(version), "labels": labels}


def _child(version: int, uid: str = "u") -> Child:
    owner = {"uid": "s", "controller": True}
    return decode_child("Service", {"metadata": {**_meta("a", version, uid), "ownerReferences": [owner]}})


def test_the_view_keeps_the_newest_state_of_a_child_in_whatever_order_it_hears_of_it() -> None:
    view, key = View(), Key("n", "a")
    view.put_service({"metadata": {"name": "a", "namespace": "n", "uid": "s"}})
    view.put_child(_child(5))
    view.put_child(_child(3))
    assert view.children(key)[("Service", "a")].metadata.resource_version == "5"


def test_the_late_deletion_of_a_namesake_does_not_drop_its_successor() -> None:
    view, key = View(), Key("n", "a")
    view.put_service({"metadata": {"name": "a", "namespace": "n", "uid": "s"}})
    view.put_child(_child(5, uid="new"))
    view.drop_child(_child(9, uid="old"))
    assert view.children(key)
    view.drop_child(_child(9, uid="new"))
    assert not view.children(key)


def test_pods_and_children_are_found_by_owner_also_where_the_label_is_a_hash() -> None:
    view = View()
    name = "a.long.name." * 10
    key = view.put_service({"metadata": {"name": name, "namespace": "n", "uid": "s", "resourceVersion": "1"}})
    pod = decode_pod({"metadata": _meta("p", 1, service=naming.label_value(name))})
    view.put_pod(pod)
    assert view.pods(key) == (pod,)
    assert view.owner(pod.metadata) == key
    view.drop_pod(pod)
    assert view.pods(key) == ()


def _pod(uid: str, address: str = "10.0.0.1") -> Pod:
    return decode_pod({"metadata": _meta(uid, 1, uid), "status": {"podIP": address, "phase": "Running"}})


def _body(uid: str, **fields: Any) -> bytes:
    plan = PlanInForce(grant_millicores=1000, workers=1, threads_per_worker=1, queue_depth=1)
    given = {"boot_id": "b", "state": "Ready", "model": ModelIdentity(name="a"), "plan": plan, "clock_s": 1.0}
    return report.encode(Report(pod_uid=uid, **given, **fields))


async def test_pods_that_lie_fail_or_hang_disturb_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("corefit_operator.collect.collector.DEADLINE_S", 0.05)
    outcomes: list[str] = []

    async def fetch(pod: Pod) -> bytes:
        match pod.metadata.uid:
            case "hangs":
                await asyncio.Event().wait()
            case "refuses":
                raise OSError("refused")
            case "garbage":
                return b"<html>"
            case "floods":
                return b"x" * (report.MAX_BYTES + 1)
            case "another":
                return _body("somebody-else")
        return _body(pod.metadata.uid)

    pods = [_pod(uid) for uid in ("hangs", "refuses", "garbage", "floods", "another", "good")]
    reports = await Collector(fetch, outcomes.append).collect([*pods, _pod("no-address", "")])
    assert set(reports) == {"good"}
    assert sorted(outcomes) == ["invalid", "invalid", "invalid", "ok", "timeout", "unreachable"]


def test_metrics_of_a_deleted_resource_go_with_it() -> None:
    metrics, key = Metrics(), Key("n", "a")
    metrics.scaled(key, 1, 2)
    assert b'name="a"' in metrics.text()
    metrics.forget(key)
    assert b'name="a"' not in metrics.text()
