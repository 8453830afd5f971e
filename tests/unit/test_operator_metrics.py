"""What the operator's series say of a resource: what is there, and nothing that was."""

from unit.outcomes import Case

from corefit_core.burst import Verdict
from corefit_core.recommender import Decision
from corefit_core.spec.decode import decode
from corefit_operator.cache.view import Key
from corefit_operator.resize.sizes import Sized
from corefit_operator.status import gauges
from corefit_operator.telemetry.metrics import Metrics

KEY, OTHER = Key("n", "a"), Key("n", "b")
SERVICE = decode({"metadata": {"name": "a", "namespace": "n"}, "spec": {"model": {"uri": "http://m/a.onnx"}}})
NOTHING = Case().outcome(SERVICE)
LENT = Verdict(lending="Available", lent_cores=0.5, short_cores=0.0)
SIZED = Case(cpu=Sized(wanted=500, granted=(250, 500)), burst=LENT).outcome(SERVICE)


def _told(metrics: Metrics, key: Key) -> dict[str, float]:
    """The series that come and go, by name and kind."""
    return {
        f"{sample.name} {sample.labels['kind']}": sample.value
        for family in metrics.registry.collect()
        for sample in family.samples
        if sample.labels.get("name") == key.name and family.name in ("corefit_pod_millicores", "corefit_burst_cores")
    }


def test_sizes_are_told_as_long_as_there_is_a_range() -> None:
    """A pod's sizes of before stayed for as long as the operator ran."""
    metrics = Metrics()
    for key in (KEY, OTHER):
        gauges.publish(metrics, key, SERVICE, SIZED)
    assert _told(metrics, KEY) == {
        "corefit_pod_millicores wanted": 500,
        "corefit_pod_millicores least": 250,
        "corefit_pod_millicores most": 500,
        "corefit_burst_cores lent": 0.5,
        "corefit_burst_cores short": 0,
    }
    for _ in range(2):
        gauges.publish(metrics, KEY, SERVICE, NOTHING)
        assert _told(metrics, KEY) == {}
    assert len(_told(metrics, OTHER)) == 5
    gauges.publish(metrics, KEY, SERVICE, SIZED)
    assert len(_told(metrics, KEY)) == 5


def test_a_resource_that_is_gone_has_no_series_and_a_new_one_of_its_name_begins_with_none() -> None:
    metrics = Metrics()
    gauges.publish(metrics, KEY, SERVICE, SIZED)
    metrics.forget(KEY)
    gauges.publish(metrics, KEY, SERVICE, NOTHING)
    assert _told(metrics, KEY) == {}


def test_a_latency_is_told_as_long_as_there_are_answers() -> None:
    """That of the only request of an hour ago stood there as that of now."""
    metrics = Metrics()
    decision = Decision(replicas=1, uncapped=1, reason="Steady", message="m", latency_s=0.5)
    for key in (KEY, OTHER):
        gauges.publish(metrics, key, SERVICE, Case(decision=decision).outcome(SERVICE))
    quiet = Decision(replicas=1, uncapped=1, reason="Steady", message="m")
    for _ in range(2):
        gauges.publish(metrics, KEY, SERVICE, Case(decision=quiet).outcome(SERVICE))
    (latency,) = [family for family in metrics.registry.collect() if family.name == "corefit_latency_seconds"]
    assert [(sample.labels["name"], sample.value) for sample in latency.samples] == [(OTHER.name, 0.5)]
