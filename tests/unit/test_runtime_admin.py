"""The admin port's readiness: a process that loads holds the question until there is an answer, and no other does."""

import asyncio
from collections.abc import Callable

import pytest

from corefit_runtime import admin, settings
from corefit_runtime.admin import AdminApi
from corefit_runtime.grant import Cgroup
from corefit_runtime.http_exchange import Exchange
from corefit_runtime.http_messages import Response, parse_head
from corefit_runtime.meter import Meter
from corefit_runtime.service import Service


class Client:
    """One that asks for readiness, and keeps the answer."""

    def __init__(self, api: AdminApi) -> None:
        self.said: list[tuple[int, bytes]] = []
        self.answered = asyncio.Event()
        self.exchange = Exchange(self, parse_head(b"GET /readyz HTTP/1.1\r\nHost: pod\r\n\r\n"), memoryview(b""), 0.0)
        api(self.exchange)

    def answer(self, response: Response) -> None:
        self.said.append((response.status, bytes(b"".join(response.body))))
        self.answered.set()


def service() -> Service:
    return Service(settings.load(["--model", "m.onnx"], {}), Cgroup([], str), Meter())


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
    change: Callable[[Service], None], answer: tuple[int, bytes]
) -> None:
    asked = service()
    api = AdminApi(asked)
    clients = [Client(api), Client(api)]
    assert [client.said for client in clients] == [[], []]
    change(asked)
    assert [client.said for client in clients] == [[answer], [answer]]
    late = Client(api)
    assert late.said == [answer], "no other state is waited in"


async def test_it_is_held_no_longer_than_a_probe_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admin, "HOLD_S", 0.0)
    client = Client(AdminApi(service()))
    await asyncio.wait_for(client.answered.wait(), 60)
    assert client.said == [(503, b"Loading\n")]


async def test_a_client_that_has_gone_is_forgotten() -> None:
    asked = service()
    api = AdminApi(asked)
    client, stays = Client(api), Client(api)
    client.exchange.gone()
    asked.became_ready()
    assert (client.said, stays.said) == ([], [(200, b"ready\n")])
    assert not api._held


async def test_what_drains_stays_so() -> None:
    asked = service()
    api = AdminApi(asked)
    asked.became_draining()
    asked.became_ready()
    assert Client(api).said == [(503, b"Draining\n")]
