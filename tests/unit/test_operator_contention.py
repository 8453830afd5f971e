"""Who else writes the replicas: seen by the value, spoken of for a while, and never of our own writes."""

from corefit_operator.kube.workloads import Child, decode_child
from corefit_operator.workload.contention import SPOKEN_OF_S, Contention


def _workload(replicas: int, uid: str = "u") -> Child:
    return decode_child("Deployment", {"metadata": {"name": "a", "uid": uid}, "spec": {"replicas": replicas}})


def test_another_value_than_was_settled_is_somebody_elses_for_a_while() -> None:
    contention = Contention()
    assert not contention.look(_workload(1), 0.0)
    contention.settle(_workload(1), 1, ours=True)
    assert not contention.look(_workload(1), 1.0)
    assert contention.look(_workload(3), 2.0)
    contention.settle(_workload(3), 1, ours=True)
    assert contention.look(_workload(1), 3.0)
    assert not contention.look(_workload(1), 2.0 + SPOKEN_OF_S)


def test_where_replicas_are_anybodys_and_where_it_is_another_workload_nothing_is_contended() -> None:
    contention = Contention()
    contention.settle(_workload(1), 1, ours=True)
    assert not contention.look(_workload(3, "another"), 1.0)
    assert not contention.look(None, 1.0)
    contention.settle(_workload(1), 1, ours=False)
    assert not contention.look(_workload(3), 2.0)


def test_what_our_own_write_left_whose_answer_was_lost_is_nobody_elses() -> None:
    contention = Contention()
    contention.settle(_workload(1), 1, ours=True)
    contention.doubt()
    assert not contention.look(_workload(3), 1.0)


def test_whether_corefit_changed_them_back_is_known_and_another_mode_forgets_it() -> None:
    contention = Contention()
    contention.settle(_workload(1), 1, ours=True)
    assert contention.look(_workload(3), 1.0)
    contention.settle(_workload(3), 3, ours=True)
    assert not contention.changed_back
    contention.settle(_workload(3), 1, ours=True)
    assert contention.changed_back
    assert contention.announce(1.0)
    assert not contention.announce(2.0)
    assert not contention.look(_workload(1), 3.0, "Manual")
