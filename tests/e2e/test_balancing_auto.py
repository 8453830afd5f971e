"""Balancing Auto on a real cluster: load brings the queue, its end takes it away, and no request is lost on the way.

It takes eight minutes, and how much one queue saves depends on the machine: the quick tests of the same are
`tests/faults/test_balancing_auto.py`, where pods report the load that a test wants.
"""

import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import yaml
from e2e.driving import Load

from corefit.demo.predictions import known_rows, load_requests

pytestmark = [pytest.mark.cluster, pytest.mark.nightly]
ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples/load-model"
LITTLE = 0.5
"""Requests a second of the load model: one pod is enough."""
MORE = (8.0, 12.0, 20.0)
"""Requests a second that come one after the other until one queue is worth its balancer. All of them take a third of a
core on an idle machine, and the first as much where others take the CPU and a run takes five times as long."""
STEP_S = 180.0
"""Seconds until more load comes: the mean of a minute fills, and what one queue saves has to last for another."""
SPEC = {
    "objective": {"percentile": 90, "latencyMilliseconds": 50},
    "scaling": {"minReplicas": 1, "maxReplicas": 6, "downStabilizationSeconds": 5},
    "routing": {"balancing": "Auto"},
}
BALANCERS = "serving.corefit.dev/balancer=load-model"


def _status(kube: Any) -> dict[str, Any]:
    found: dict[str, Any] = kube.get("cfis", "load-model").get("status", {})
    return found


def _balances(kube: Any) -> str:
    return str(_status(kube).get("balancing"))


def _apply(kube: Any, **more: Any) -> None:
    example = yaml.safe_load((EXAMPLE / "inferenceservice.yaml").read_text())
    kube.apply({**example, "spec": {**example["spec"], **SPEC, **more}})


def _load(kube: Any, rate: float) -> Load:
    return Load(kube.url("load-model"), load_requests(known_rows(EXAMPLE / "rows.json")), rate, per_connection=10)


def _worth(kube: Any) -> bool:
    return bool(_status(kube).get("routing", {}).get("recommended") == "Queue")


def _until_worth(kube: Any, stack: ExitStack) -> list[Load]:
    """The loads under which one queue is worth its balancer."""
    loads = list[Load]()
    for rate in MORE:
        loads.append(stack.enter_context(_load(kube, rate)))
        end = time.monotonic() + STEP_S
        kube.until("it is worth it, or more load is to come", lambda end=end: _worth(kube) or time.monotonic() > end)
        if _worth(kube):
            break
    kube.until("one queue is worth its balancer", lambda: _worth(kube))
    return loads


def test_load_brings_the_queue_and_its_end_takes_it_away_and_no_request_is_lost(kube: Any) -> None:
    _apply(kube)
    kube.wait_condition("load-model", "Ready", "True")
    assert _balances(kube) == "Direct"
    address = kube.get("service", "load-model")["spec"]["clusterIP"]
    with _load(kube, LITTLE) as little:
        with ExitStack() as stack:
            loads = _until_worth(kube, stack)
            kube.until("one queue balances", lambda: _balances(kube) == "Queue")
            kube.until("and serves", loads[0].served_one_more())
            routing = _status(kube)["routing"]
            print(f"\n{routing}")
            assert (routing["recommended"], routing["reason"], routing["takes"]) == ("Queue", "Saves", "50m")
            assert kube.condition("load-model", "BalancerReady")["reason"] == "Queue"
        kube.until("the Service balances by itself", lambda: _balances(kube) == "Direct")
        kube.until("and serves", little.served_one_more())
        kube.until("no balancer is left", lambda: not kube.get("pods", "-l", BALANCERS)["items"])
        kube.until("and it serves", little.served_one_more())
    assert (_status(kube)["routing"]["recommended"], _status(kube)["routing"]["saves"]) == ("Direct", "0")
    assert kube.get("service", "load-model")["spec"]["clusterIP"] == address
    for load in (*loads, little):
        assert load.lost() == [], load.recorder.summary()


def test_in_mode_recommend_it_is_only_said_and_with_direct_too(kube: Any) -> None:
    _apply(kube, scaling={**SPEC["scaling"], "mode": "Recommend"})
    kube.wait_condition("load-model", "Ready", "True")
    with ExitStack() as stack:
        [load, *_] = _until_worth(kube, stack)
        assert "In mode Recommend Corefit leaves" in _status(kube)["routing"]["message"]
        _apply(kube, routing={"balancing": "Direct"})
        kube.until("it says how to use it", lambda: "set spec.routing" in _status(kube)["routing"]["message"])
        kube.until("it serves", load.served_one_more())
        assert _balances(kube) == "Direct"
        assert _status(kube)["routing"]["recommended"] == "Queue"
    assert not kube.get("pods", "-l", BALANCERS)["items"]
