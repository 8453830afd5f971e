"""Places shared by namespaces: whoever wants much waits for itself alone."""

import asyncio
from collections import Counter
from contextlib import suppress

from hypothesis import given
from hypothesis import strategies as st

from corefit_operator.concurrency.fair_semaphore import FairSemaphore


async def test_a_group_that_holds_its_places_for_ever_leaves_the_rest_to_others() -> None:
    turns: FairSemaphore[str] = FairSemaphore(places=4, share=2)
    forever = asyncio.Event()

    async def hold(group: str) -> None:
        async with turns.of(group):
            await forever.wait()

    greedy = [asyncio.create_task(hold("greedy")) for _ in range(300)]
    for _ in range(20):
        async with asyncio.timeout(60), turns.of("honest"):
            await asyncio.sleep(0)
    forever.set()
    await asyncio.gather(*greedy)


async def test_those_that_wait_are_served_in_turns() -> None:
    turns: FairSemaphore[str] = FairSemaphore(places=1, share=1)
    served: list[str] = []

    async def once(group: str) -> None:
        async with turns.of(group):
            served.append(group)
            await asyncio.sleep(0)

    await asyncio.gather(*(once(group) for group in ["a"] * 5 + ["b"] * 2 + ["c"]))
    assert served == ["a", "a", "b", "c", "a", "b", "a", "a"]


@given(st.lists(st.tuples(st.sampled_from("abc"), st.booleans(), st.integers(0, 3)), max_size=30))
def test_no_place_is_lost_and_none_held_twice(wants: list[tuple[str, bool, int]]) -> None:
    """Whoever is cancelled, waiting or not."""

    async def run() -> None:
        turns: FairSemaphore[str] = FairSemaphore(places=3, share=2)
        held: Counter[str] = Counter()

        async def once(group: str, steps: int) -> None:
            async with turns.of(group):
                held[group] += 1
                assert held[group] <= 2
                assert held.total() <= 3
                try:
                    for _ in range(steps):
                        await asyncio.sleep(0)
                finally:
                    held[group] -= 1

        tasks = [(asyncio.create_task(once(group, steps)), cancel) for group, cancel, steps in wants]
        await asyncio.sleep(0)
        for task, cancel in tasks:
            if cancel:
                task.cancel()
        for task, _ in tasks:
            with suppress(asyncio.CancelledError):
                await task
        async with asyncio.timeout(60), turns.of("a"), turns.of("a"), turns.of("b"):
            assert held.total() == 0

    asyncio.run(run())
