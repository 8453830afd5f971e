"""Several operators, one leader: fail-over, hand-over, and a leader that was asleep while another took its place."""

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from faults.operators import RUNTIME, Nursery, Operator, failover_s
from faults.proxy import Proxy
from faults.wire import Wire

pytestmark = pytest.mark.cluster
Make = Callable[..., dict[str, Any]]


class Candidate(NamedTuple):
    name: str
    operator: Operator
    proxy: Proxy


@pytest.fixture
def candidates(outside: Any, nursery: Nursery, tmp_path: Path) -> Iterator[list[Candidate]]:
    """Two operators with one Lease, the first of which leads."""
    with ExitStack() as stack:
        made = []
        wire = stack.enter_context(Wire(outside.environment["KUBECONFIG"]))
        for name in ("one", "two"):
            proxy = stack.enter_context(Proxy(wire))
            arguments = [*_arguments(outside, proxy, tmp_path), "--lease", f"{outside.namespace}/corefit"]
            log = tmp_path / f"{name}.log"
            made.append(Candidate(name, stack.enter_context(Operator(nursery, arguments, log, again=False)), proxy))
            outside.until("there is a leader", lambda: _holder(outside))
        yield made


def _arguments(kube: Any, proxy: Proxy, folder: Path) -> list[str]:
    where = ["--kubeconfig", proxy.kubeconfig(folder), "--namespace", kube.namespace]
    return ["run", *RUNTIME, *where, "--metrics-host", "127.0.0.1", "--metrics-port", "0", "--round-seconds", "1"]


def _holder(kube: Any) -> str:
    return str(kube.find("lease", "corefit").get("spec", {}).get("holderIdentity") or "")


def _asleep(service: Make, **spec: Any) -> dict[str, Any]:
    """A resource without pods: who leads shows in its children."""
    return service(scaling={"mode": "Manual", "replicas": 0}, **spec)


def _labelled(kube: Any, service: Make, value: str) -> None:
    kube.apply(_asleep(service, template={"labels": {"seen": value}}))


def _changed(kube: Any, service: Make, value: str) -> float:
    """Seconds until a change has been carried out."""
    begun = time.monotonic()
    _labelled(kube, service, value)
    kube.until(f"{value} is carried out", lambda: _arrived(kube, value))
    return time.monotonic() - begun


def _arrived(kube: Any, value: str) -> bool:
    template = kube.find("deployment", "digits").get("spec", {}).get("template", {})
    return bool(template.get("metadata", {}).get("labels", {}).get("seen") == value)


def test_a_follower_writes_nothing_and_takes_over_within_20_s_when_the_leader_is_killed(
    outside: Any, service: Make, candidates: list[Candidate]
) -> None:
    one, two = candidates
    _changed(outside, service, "first")
    before_s = _changed(outside, service, "second")
    assert one.proxy.writes
    assert not two.proxy.writes
    before = _holder(outside)
    one.operator.kill()
    took_s = _changed(outside, service, "third")
    assert took_s < failover_s(max(before_s, _changed(outside, service, "fourth")))
    assert _holder(outside) not in ("", before)
    assert outside.get("lease", "corefit")["spec"]["leaseTransitions"] == 1


def test_a_leader_that_is_told_to_end_hands_over_at_once(
    outside: Any, service: Make, candidates: list[Candidate]
) -> None:
    one, two = candidates
    before = _holder(outside)
    one.operator.signal(signal.SIGTERM)
    assert one.operator.wait() == 0, one.operator.log.read_text()
    left = outside.get("lease", "corefit")["spec"]
    assert left.get("holderIdentity") != before
    _changed(outside, service, "first")
    assert two.proxy.writes


def test_a_leader_that_slept_while_another_took_over_writes_nothing_and_ends_with_an_error(
    outside: Any, service: Make, candidates: list[Candidate]
) -> None:
    one, two = candidates
    _changed(outside, service, "first")
    # What it has sent before it sleeps may arrive whenever.
    outside.until("it is done", lambda: outside.condition("digits", "Progressing").get("reason") == "Complete")
    before = _holder(outside)
    one.operator.signal(signal.SIGSTOP)
    _changed(outside, service, "second")
    assert _holder(outside) != before
    woken = time.monotonic()
    one.operator.signal(signal.SIGCONT)
    assert one.operator.wait() == 1, one.operator.log.read_text()
    assert "was lost" in one.operator.log.read_text()
    assert not [w for w in one.proxy.writes if w.at >= woken and w.status < 400]
    assert two.proxy.writes


def test_a_leader_that_cannot_renew_stops_writing_and_ends(
    outside: Any, service: Make, candidates: list[Candidate]
) -> None:
    one, _ = candidates
    _changed(outside, service, "first")
    one.proxy.judge = lambda request: "refuse" if "/leases/" in request.path else None
    assert one.operator.wait() == 1, one.operator.log.read_text()
    _changed(outside, service, "second")
