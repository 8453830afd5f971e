"""What `corefit load` shows while it runs, on standard error: one line that changes on a terminal, else one every 10 s.

May not change what is measured: it only reads the recorder.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Final

from rich.console import Console

from corefit.load.record import Kind, Recorder, summarize
from corefit.load.schedule import Step, duration_s, rate_at

TERMINAL_S: Final = 0.5
"""Seconds between two states of the line: people see it move."""
LOG_S: Final = 10.0
"""Seconds between two lines in a log."""
RECENT_S: Final = 2.0
"""Seconds of answers that the latency in the line is of; the loop that sends must not stand for a sort of many."""


def line(recorder: Recorder, steps: Sequence[Step], at_s: float) -> str:
    """How far the run is, and what became of its requests so far."""
    total = duration_s(steps)
    recent = summarize(recorder.ended_since(at_s - RECENT_S)).p99_s
    latency = "-" if recent is None else f"{1000 * recent:.1f} ms"
    if at_s >= total:
        phase = f"waiting for {recorder.in_flight} answers"
    else:
        phase = f"{at_s:.0f} of {total:.0f} s, {rate_at(steps, at_s):g} requests a second"
    answered, refused = recorder.counts[Kind.OK], recorder.counts[Kind.SHED]
    lost = len(recorder) - answered - refused
    return f"{phase}: {answered} answered, {refused} refused, {lost} lost; p99 of the last {RECENT_S:.0f} s {latency}"


@asynccontextmanager
async def shown(recorder: Recorder, steps: Sequence[Step], console: Console) -> AsyncIterator[None]:
    """Shows the progress of a run that begins now, as long as the block runs."""
    task = asyncio.create_task(_show(recorder, steps, console))
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def _show(recorder: Recorder, steps: Sequence[Step], console: Console) -> None:
    loop = asyncio.get_running_loop()
    start = loop.time()
    if not console.is_terminal:
        while True:
            await asyncio.sleep(LOG_S)
            console.print(line(recorder, steps, loop.time() - start), soft_wrap=True, highlight=False)
    with console.status(line(recorder, steps, 0.0)) as status:
        while True:
            await asyncio.sleep(TERMINAL_S)
            status.update(line(recorder, steps, loop.time() - start))
