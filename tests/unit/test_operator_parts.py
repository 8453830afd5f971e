"""Small parts of the operator that others rest on, each by itself."""

from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corefit_core.naming import FIELD_MANAGER
from corefit_core.report import ModelIdentity, PlanInForce, Report
from corefit_core.spec.decode import decode
from corefit_operator.balancer import manifests
from corefit_operator.concurrency.backoff import Backoff
from corefit_operator.kube import responses
from corefit_operator.kube.api_error import ApiError
from corefit_operator.kube.managed_fields import applied_fields
from corefit_operator.kube.pods import Pod, decode_pod
from corefit_operator.status import cost, plan

SPEC = decode({"metadata": {"name": "a", "namespace": "n"}, "spec": {"model": {"uri": "http://m/a.onnx"}}})

# --- back-off -------------------------------------------------------------------------------------------------


@given(st.integers(0, 2000))
def test_a_wait_doubles_from_half_a_second_to_a_minute_give_or_take_a_fifth(failures: int) -> None:
    backoff = Backoff(failures=failures)
    wait = backoff.failed(None)
    grown = min(60.0, 0.5 * 2.0 ** min(failures, 20))
    assert 0.8 * grown <= wait <= 1.2 * grown
    assert backoff.failures == failures + 1


@given(st.integers(0, 50), st.floats(0.0, 600.0))
def test_a_wait_is_no_shorter_than_the_other_side_wants(failures: int, wanted: float) -> None:
    wait = Backoff(failures=failures).failed(wanted)
    assert wait >= wanted
    assert wait <= max(1.2 * wanted, 72.0)


# --- which fields are ours ------------------------------------------------------------------------------------


def _owned(*entries: dict[str, Any]) -> dict[str, Any]:
    return {"metadata": {"managedFields": list(entries)}, "spec": {"replicas": 1}}


OURS = {"manager": FIELD_MANAGER, "operation": "Apply", "fieldsV1": {"f:spec": {"f:x": {}}}}


def test_the_fields_that_count_are_those_of_our_own_applies() -> None:
    """Not those of `kubectl edit`, of another manager, nor of our writes to a subresource such as scale."""
    found = applied_fields(_owned(OURS))
    others = [OURS | {"manager": "helm"}, OURS | {"operation": "Update"}, OURS | {"subresource": "scale"}]
    assert found
    assert applied_fields(_owned(*others, OURS)) == found
    assert applied_fields(_owned(*others)) == applied_fields(_owned()) == applied_fields({"metadata": {}}) == ""
    assert applied_fields(_owned(OURS | {"fieldsV1": {"f:spec": {}}})) != found


# --- answers --------------------------------------------------------------------------------------------------


class _Response:
    """An answer in parts, as the client hands them out."""

    def __init__(self, *parts: bytes) -> None:
        self.parts, self.released, self.status = parts, False, 200
        self.response = self.content = self

    async def iter_any(self) -> AsyncIterator[bytes]:
        for part in self.parts:
            yield part

    def release(self) -> None:
        self.released = True


async def test_an_answer_is_read_to_its_end_and_its_connection_given_back() -> None:
    response = _Response(b"a", b"", b"bc")
    assert await responses.body("GET", "/x", response) == b"abc"  # type: ignore[arg-type]
    assert response.released


async def test_an_answer_without_end_is_not_read_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(responses, "ANSWER_MAX", 4)
    assert await responses.body("GET", "/x", _Response(b"ab", b"cd")) == b"abcd"  # type: ignore[arg-type]
    response = _Response(b"ab", b"cd", b"e")
    with pytest.raises(ApiError, match="GET /x: an answer of more than 4 bytes"):
        await responses.body("GET", "/x", response)  # type: ignore[arg-type]
    assert response.released


def test_a_page_says_where_the_next_one_begins() -> None:
    page = responses.PAGES.decode(b'{"metadata":{"continue":"t","resourceVersion":"7"},"items":[{"a":1},{"b":2}]}')
    assert (page.metadata.token, page.metadata.resource_version) == ("t", "7")
    assert [bytes(item) for item in page.items] == [b'{"a":1}', b'{"b":2}']
    assert responses.PAGES.decode(b"{}").metadata.token == ""
    assert (
        responses.VERSIONED.decode(b'{"metadata":{"resourceVersion":"9"},"spec":[]}').metadata.resource_version == "9"
    )


def test_of_the_pods_of_a_node_only_what_they_request_is_kept() -> None:
    (pod,) = responses.PODS.decode(
        b'{"items":[{"metadata":{"name":"big"},"spec":{"containers":[{"name":"c","image":"i",'
        b'"resources":{"requests":{"cpu":"1"},"limits":{"cpu":"2"}}}],"initContainers":[{"restartPolicy":"Always"}],'
        b'"overhead":{"cpu":"10m"}},"status":{"containerStatuses":[{"allocatedResources":{"cpu":"1500m"}}]}}]}'
    ).items
    assert [c.resources.requests for c in pod.spec.containers] == [{"cpu": "1"}]
    assert [c.restart_policy for c in pod.spec.init_containers] == ["Always"]
    assert (pod.spec.overhead, pod.status.container_statuses[0].allocated_resources) == (
        {"cpu": "10m"},
        {"cpu": "1500m"},
    )


# --- status ---------------------------------------------------------------------------------------------------


def _pod(uid: str, node: str = "x") -> Pod:
    return decode_pod({"metadata": {"name": uid, "uid": uid}, "spec": {"nodeName": node} if node else {}})


def _report(workers: int, why: str = "measured") -> Report:
    in_force = PlanInForce(grant_millicores=1000, workers=workers, threads_per_worker=3, queue_depth=7, why=why)
    return Report(boot_id="b", state="Ready", model=ModelIdentity(name="m"), plan=in_force, clock_s=1.0)


def _shown(reports: dict[str, Report], *uids: str) -> Any:
    return plan.of(SPEC.plan, SimpleNamespace(reports=reports, pods=[_pod(uid) for uid in uids]))  # type: ignore[arg-type]


def test_a_status_shows_the_plan_that_a_pod_runs_with_and_before_that_the_one_of_the_limit() -> None:
    """A pod that loads its model has no workers yet."""
    found = _shown({"a": _report(0), "b": _report(2)}, "a", "b", "c")
    assert (found.workers, found.threads_per_worker, found.queue_depth, found.why) == (2, 3, 7, "measured")
    computed = _shown({"a": _report(0), "gone": _report(2)}, "a")
    assert (computed.workers, computed.queue_depth, computed.why) == (1, SPEC.plan.queue_depth, SPEC.plan.why)


def test_what_a_pod_claims_as_its_reason_is_one_printable_line_of_a_kilobyte() -> None:
    found = _shown({"a": _report(2, "x\n\x1b[2J" + "y" * 5000)}, "a")
    assert len(found.why) == 1024
    assert found.why.isprintable()


def test_pods_cost_what_nodes_hold_for_them() -> None:
    price = SPEC.policy.price
    one, none = cost.per_hour(SPEC, [_pod("a")], 0), cost.per_hour(SPEC, [_pod("a", node="")], 0)
    assert (one, none) == (pytest.approx(price.per_hour(1000, 512 << 20)), 0.0)
    assert cost.per_hour(SPEC, [_pod("a"), _pod("b")], 0) == pytest.approx(2 * one)
    balancers = cost.per_hour(SPEC, [], 2)
    assert balancers == pytest.approx(2 * cost.per_hour(SPEC, [], 1))
    assert balancers >= 2 * price.per_hour(manifests.MILLICORES, 0) > 0
