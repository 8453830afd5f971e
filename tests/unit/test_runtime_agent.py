"""What a pod says to a load balancer of how much it can take."""

import asyncio

import pytest

from corefit_runtime.process.agent import Agent


@pytest.mark.parametrize(
    ("granted", "line"), [(250, b"100%\n"), (1500, b"600%\n"), (100, b"40%\n"), (1, b"1%\n"), (0, b"0%\n")]
)
def test_the_share_follows_the_cpu_and_is_nothing_without_a_model_alone(granted: int, line: bytes) -> None:
    assert Agent(lambda: granted, 250).line() == line


async def test_each_connection_gets_one_line_and_ends() -> None:
    granted = [250]
    agent = Agent(lambda: granted[0], 250)
    port = await agent.start("127.0.0.1", 0)
    lines = []
    for cpu in (250, 500):
        granted[0] = cpu
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        lines.append(await reader.read())
        writer.close()
    agent.close()
    assert lines == [b"100%\n", b"200%\n"]
