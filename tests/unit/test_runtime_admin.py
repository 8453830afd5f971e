"""What the admin port holds: whether it is ready, while it loads, and whether its queue is long, until it is."""

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, cast

import pytest
from unit.process import SETTINGS, Process

from corefit_core.report import ATTENTION_PATH, LONG, LONG_WAIT, Gauges
from corefit_runtime.admin import endpoints, metrics
from corefit_runtime.admin.endpoints import AdminApi
from corefit_runtime.grant.cgroups import Cgroup
from corefit_runtime.grant.hierarchies import parse_hierarchies
from corefit_runtime.http.exchange import Exchange
from corefit_runtime.http.messages import Response, parse_head
from corefit_runtime.serving.readiness import Readiness

if TYPE_CHECKING:
    from corefit_runtime.pool.pool import Pool


class Client:
    """One that asks for readiness, or what it is given to ask, and keeps the answer."""

    def __init__(self, api: AdminApi, path: str = "/readyz") -> None:
        self.said: list[tuple[int, bytes]] = []
        self.answered = asyncio.Event()
        self.exchange = Exchange(
            self, parse_head(f"GET {path} HTTP/1.1\r\nHost: pod\r\n\r\n".encode()), memoryview(b""), 0.0
        )
        api(self.exchange)

    def answer(self, response: Response) -> None:
        self.said.append((response.status, bytes(b"".join(response.body))))
        self.answered.set()


@pytest.mark.parametrize(
    ("change", "answer"),
    [
        (lambda s: s.became_ready(), (200, b"ready\n")),
        (
            lambda s: s.became_failed("ModelInvalid", "no such operator"),
            (503, b"Failed ModelInvalid no such operator\n"),
        ),
        (lambda s: s.became_draining(), (503, b"Draining\n")),
    ],
)
async def test_the_question_is_held_until_the_state_is_another(
    change: Callable[[Readiness], None], answer: tuple[int, bytes]
) -> None:
    process = Process()
    api = process.api()
    clients = [Client(api), Client(api)]
    assert [client.said for client in clients] == [[], []]
    change(process.readiness)
    assert [client.said for client in clients] == [[answer], [answer]]
    late = Client(api)
    assert late.said == [answer], "no other state is waited in"


async def test_it_is_held_no_longer_than_a_probe_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoints, "HOLD_S", 0.0)
    client = Client(Process().api())
    await asyncio.wait_for(client.answered.wait(), 60)
    assert client.said == [(503, b"Loading\n")]


async def test_a_client_that_has_gone_is_forgotten() -> None:
    process = Process()
    api = process.api()
    client, stays = Client(api), Client(api)
    client.exchange.gone()
    process.readiness.became_ready()
    assert (client.said, stays.said) == ([], [(200, b"ready\n")])
    assert not api._loading


async def test_what_drains_stays_so() -> None:
    process = Process()
    api = process.api()
    process.readiness.became_draining()
    process.readiness.became_ready()
    assert Client(api).said == [(503, b"Draining\n")]


class Queue:
    """A pool of which nothing but its queue is seen."""

    def __init__(self, wait_s: float) -> None:
        self.wait_s = wait_s

    def gauges(self) -> Gauges:
        return Gauges(wait_seconds=self.wait_s)


def queueing(wait_s: float) -> tuple[Process, Queue]:
    process, queue = Process(), Queue(wait_s)
    process.reporter.observe(cast("Pool", queue))
    return process, queue


async def test_who_wants_to_know_of_a_long_queue_is_told_when_it_is() -> None:
    process, queue = queueing(0.0)
    limit_s = LONG_WAIT * SETTINGS.objective_s
    api = process.api()
    clients = [Client(api, ATTENTION_PATH), Client(api, ATTENTION_PATH)]
    for queue.wait_s in (0.0, 0.5 * limit_s, limit_s):
        process.attention.queued(queue.wait_s)
        assert [client.said for client in clients] == [[], []]
    queue.wait_s = 1.01 * limit_s
    process.attention.queued(queue.wait_s)
    assert [client.said for client in clients] == [[(200, LONG)], [(200, LONG)]]
    assert not process.attention.listening, "a request that waits costs nothing while nobody asks"
    assert Client(api, ATTENTION_PATH).said == [(200, LONG)]


async def test_a_queue_that_was_long_when_somebody_was_to_be_told_is_said_to_be_long() -> None:
    """A worker that takes the next one meanwhile makes it no shorter than it was; and what is refused waits nowhere."""
    process, _ = queueing(0.0)
    api = process.api()
    client = Client(api, ATTENTION_PATH)
    process.attention.queued(SETTINGS.objective_s)
    assert client.said == [(200, LONG)]
    client = Client(api, ATTENTION_PATH)
    process.attention.refused("deadline")
    assert client.said == [(200, LONG)]


async def test_a_quiet_queue_is_said_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoints, "ATTENTION_S", 0.0)
    client = Client(queueing(1e-3)[0].api(), ATTENTION_PATH)
    await asyncio.wait_for(client.answered.wait(), 60)
    assert client.said == [(200, b"quiet\n")]


async def test_a_process_without_a_model_has_no_long_queue() -> None:
    client = Client(Process().api(), ATTENTION_PATH)
    assert client.said == []


async def test_a_process_that_drains_holds_no_question() -> None:
    """Its exit waited half a second for each, and then cut their connections."""
    process = queueing(0.0)[0]
    api = process.api()
    held = Client(api, ATTENTION_PATH)
    process.readiness.became_draining()
    assert held.said == [(200, b"quiet\n")]
    assert Client(api, ATTENTION_PATH).said == [(200, b"quiet\n")]
    assert not process.attention.listening


@pytest.mark.parametrize(("stat", "shown"), [("usage_usec 5\n", False), ("nr_throttled 0\nthrottled_usec 0\n", True)])
def test_throttling_is_exported_where_the_kernel_counts_it(stat: str, shown: bool) -> None:
    mounted = parse_hierarchies("0::/own\n", "30 24 0:26 / /tree rw - cgroup2 cgroup2 rw\n")
    cgroup = Cgroup(mounted, {"/tree/own/cpu.stat": stat}.__getitem__)
    text = metrics.render(Process(cgroup).reporter)
    assert (b"corefit_throttled_seconds_total 0" in text) == shown
