"""A watch that the API server ends with an error other than 410: kopf gives up, and so does the process."""

from collections.abc import AsyncIterator

import pytest
from faults.arena import Arena, until

pytestmark = pytest.mark.cluster
ERROR = b'{"type":"ERROR","object":{"kind":"Status","apiVersion":"v1","code":500,"message":"injected"}}\n'


async def _failing(_: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield ERROR


def test_the_last_line_of_its_log_says_why_it_ended_and_it_is_there_again(arena: Arena) -> None:
    with arena.lane("watch") as lane:
        lane.proxy.events = _failing
        lane.proxy.cut_watches()
        until("it ends", lambda: lane.operator.codes, seen=lane.seen)
        lane.proxy.events = lambda lines: lines
        assert set(lane.operator.codes) == {1}
        ended = [line for line in lane.operator.log.read_text().splitlines() if line.startswith("corefit-operator:")]
        assert ended
        assert "watching failed" in ended[0]
        assert "injected" in ended[0]
        until("it watches again", lane.up, seen=lane.seen)
        lane.put()
        until("it serves", lane.serves, seen=lane.seen)
