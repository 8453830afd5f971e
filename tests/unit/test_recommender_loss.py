"""The loss of a queue with a deadline against its own stationary distribution, worked out state by state.

M/M/c whose arrivals turn away where they would wait for longer than `patience` mean service times. With k below c
requests it is a birth and death process, P(k) = P(0) a^k / k!; above, the wait that an arrival finds has the density
a P(c - 1) e^-(c - a) w up to the patience, and decays at the rate c beyond, where nobody joins.
"""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corefit_core.recommender import queueing

workers = st.integers(1, 40)
rhos = st.floats(0.05, 3.0)
patiences = st.floats(0.0, 12.0)


class _Exact:
    def __init__(self, servers: int, load: float, patience: float) -> None:
        self._rate, self._patience = servers - load, patience
        states = [1.0]
        for k in range(1, servers):
            states.append(states[-1] * load / k)
        self._at_zero = load * states[-1]
        self._beyond = self._at_zero * math.exp(-self._rate * patience) / servers
        self._all = sum(states) + self._mass(0.0, patience) + self._beyond
        blocked = states[-1] * load / servers
        self.blocked = blocked / (sum(states) + blocked)

    def _mass(self, start: float, end: float) -> float:
        if abs(self._rate) < 1e-9:
            return self._at_zero * (end - start)
        return self._at_zero * (math.exp(-self._rate * start) - math.exp(-self._rate * end)) / self._rate

    @property
    def lost(self) -> float:
        return self._beyond / self._all

    def within(self, margin: float) -> float:
        """The share of arrivals that wait for as long as they may, but for a margin."""
        return self._mass(self._patience - margin, self._patience) / self._all


@given(workers, rhos, patiences)
def test_the_loss_of_exponential_service_is_exact_but_for_erlang_b(servers: int, rho: float, patience: float) -> None:
    exact = _Exact(servers, rho * servers, patience)
    found = queueing._lost(servers, rho * servers, exact.blocked, patience, 1.0)
    assert found == pytest.approx(exact.lost, rel=1e-6, abs=1e-12)
    whole = queueing.turned_away(servers, rho * servers, patience, 1.0)
    assert whole == pytest.approx(exact.lost, rel=0.1, abs=1e-9)


@pytest.mark.parametrize("patience", [0.0, 0.5, 3.0])
def test_the_loss_at_saturation_is_the_limit_from_both_sides(patience: float) -> None:
    at = queueing.turned_away(8, 8.0, patience, 0.3)
    for near in (8.0 - 1e-6, 8.0 + 1e-6):
        assert queueing.turned_away(8, near, patience, 0.3) == pytest.approx(at, rel=1e-4)


def test_far_above_saturation_all_is_lost_but_what_the_workers_take() -> None:
    assert queueing.turned_away(10, 1e4, 50.0, 1.0) == pytest.approx(1 - 10 / 1e4)
    assert queueing.turned_away(10, 1e4, 0.0, 1.0) == pytest.approx(1 - 10 / 1e4, rel=1e-2)


def test_without_load_nothing_is_lost_and_without_time_everything() -> None:
    assert queueing.turned_away(3, 0.0, 1.0, 1.0) == queueing.turned_away(3, -1.0, 1.0, 1.0) == 0.0
    assert queueing.turned_away(3, 0.0, -1e-9, 1.0) == 1.0


@given(st.integers(1, 20), rhos, st.floats(0.1, 10.0), st.floats(0.0, 1.0))
def test_late_is_half_of_what_waits_within_the_margin_of_the_deadline(
    servers: int, rho: float, patience: float, share: float
) -> None:
    exact = _Exact(servers, rho * servers, patience)
    pods = queueing.Pods(servers, servers, 1.0, ((patience, 1.0),), patience, share * patience)
    late = exact.within(share * patience) / 2
    assert pods._late(rho * servers, exact.blocked) == pytest.approx(late, rel=1e-6, abs=1e-12)


@given(workers, rhos)
def test_the_share_that_waits_is_erlangs_c(servers: int, rho: float) -> None:
    """Without a deadline: the arrivals that find all servers busy, B / (1 - rho (1 - B))."""
    exact = _Exact(servers, rho * servers, 0.0).blocked
    found = queueing.waiting(servers, rho * servers)
    if rho >= 1:
        assert found == 1.0
    else:
        assert found == pytest.approx(exact / (1 - rho * (1 - exact)), rel=0.08)


@pytest.mark.parametrize(("servers", "off"), [(1, 0.06), (4, 0.021), (10, 0.01), (100, 0.01)])
@pytest.mark.parametrize("rho", [0.1, 0.5, 0.8, 1.0])
def test_erlang_b_is_as_exact_as_it_says(servers: int, off: float, rho: float) -> None:
    exact = _Exact(servers, rho * servers, 0.0).blocked
    assert exact <= queueing.erlang_b(servers, rho * servers) <= (1 + off) * exact + 1e-12


def test_erlang_b_far_from_saturation() -> None:
    assert queueing.erlang_b(1e4, 1.0) == 0.0
    assert queueing.erlang_b(10.0, 1e6) == pytest.approx(1 - 1e-5)
    assert queueing.erlang_b(10.0, 0.0) == queueing.erlang_b(10.0, -1.0) == 0.0


def _service(**fields: float) -> queueing.Service:
    plain = {"service_s": 0.1, "scv": 0.0, "latency_s": 0.5, "workers": 2, "pooling": 1.0}
    return queueing.Service(**{**plain, **fields})


def test_noise_is_that_of_counting_arrivals() -> None:
    """4 Erlangs of runs of 1 s are 400 arrivals in 100 s, give or take 20: 0.2 Erlangs. Varied runs add their own."""
    assert _service(service_s=1.0).noise(4.0, 100.0) == pytest.approx(0.2)
    assert _service(service_s=1.0, scv=3.0).noise(4.0, 100.0) == pytest.approx(0.4)
    assert _service().noise(-1.0, 100.0) == 0.0


def test_pods_share_one_queue_as_far_as_they_pool() -> None:
    assert [queueing.servers(2, 9, pooling) for pooling in (0.0, 0.5, 1.0)] == [2, 6, 18]


def test_of_constant_runs_the_wait_allowed_is_what_the_objective_leaves() -> None:
    """An objective of five runs leaves four to wait, of one pod and of one point of the distribution."""
    pods = _service().of(1)
    assert (pods.together, pods.capacity, pods.patience) == (2, 2, 4)
    assert pods.patiences == ((4, 2 / 3),)
    assert pods.margin == pytest.approx(math.sqrt(2 / math.pi / 12) / 2)


def test_runs_that_vary_use_up_some_of_the_wait_and_others_leave_more() -> None:
    pods = _service(scv=0.25).of(1)
    deviation = math.sqrt(3) / 2
    assert [wait for wait, _ in pods.patiences] == pytest.approx([4 + deviation, 4, 4 - deviation])
    assert [weight for _, weight in pods.patiences] == pytest.approx([1 / 6, 2 / 3, 1 / 6])


def test_throttled_workers_take_longer_and_are_more() -> None:
    """Half of the time on a CPU: four threads do the work of two, each run takes twice as long."""
    pods = _service(slowdown=2.0).of(1)
    assert (pods.together, pods.capacity, pods.patience) == (4, 2, 1.5)


def test_separate_queues_are_coarser_than_a_shared_one() -> None:
    """Half a request of the queue joined, shared by its workers; never below a quarter of the wait allowed."""
    one, many = _service().of(1), _service().of(3)
    assert many.together == 6
    assert many.patiences[0][0] == pytest.approx(one.patiences[0][0] - 0.25)
    assert _service(pooling=0.0).of(3).patiences == one.patiences
    tight = _service(workers=1, latency_s=0.12).of(3)
    assert tight.patiences[0][0] == pytest.approx(0.05)


def test_what_takes_too_long_by_itself_is_left_out() -> None:
    assert _service(latency_s=0.09).of(1).patiences == ()
    assert _service(latency_s=0.09).missed(1, 0.1) == _service(latency_s=0.09).turned_away(1, 0.1) == 1.0
    some = _service(latency_s=0.1, scv=0.25).of(1)
    assert [weight for _, weight in some.patiences] == pytest.approx([1 / 6, 2 / 3])


outlooks = st.lists(st.tuples(st.integers(1, 5), st.floats(0.1, 4.0)), min_size=1, max_size=4)


def _outlook(drawn: list[tuple[int, float]]) -> list[tuple[float, float]]:
    """In falling order, with a mean of one: as the forecast makes them."""
    total = sum(chance for chance, _ in drawn)
    mean = sum(chance * ratio for chance, ratio in drawn) / total
    return sorted(((chance / total, ratio / mean) for chance, ratio in drawn), key=lambda each: -each[1])


@given(outlooks, st.floats(0.0, 20.0), st.floats(1e-3, 0.2), st.integers(1, 3), st.integers(0, 14))
def test_the_fewest_pods_are_found_that_miss_no_more_than_the_target(
    drawn: list[tuple[int, float]], load: float, target: float, least: int, more: int
) -> None:
    """By trying one number after the other, each load weighed by how many requests it has."""
    outlook, service = _outlook(drawn), _service(scv=0.1)
    found = queueing.pods_needed(load, outlook, service, target, least + more, least=least)

    def misses(pods: int) -> float:
        return sum(chance * ratio * service.missed(pods, load * ratio) for chance, ratio in outlook)

    slack = 1e-9
    assert found == least + more or misses(found) <= target + slack
    assert all(misses(pods) > target - slack for pods in range(least, found))


def test_an_end_of_the_search_below_its_beginning_is_no_end() -> None:
    assert queueing.pods_needed(0.0, [(1.0, 1.0)], _service(), 0.01, 2, least=5) == 5
