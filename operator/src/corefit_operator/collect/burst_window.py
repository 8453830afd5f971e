"""Whether nodes lend pods the CPU beyond their requests, from the pods' statements over some seconds.

Only for resources whose pods have a limit above their request. May not decide what to do about it: replicas follow
from measured service times, which a busy node lengthens.
"""

from collections.abc import Mapping
from typing import Final

import msgspec

from corefit_core import burst
from corefit_core.burst import Verdict
from corefit_core.report import Burst, Report

SPAN_S: Final = 10.0
"""Seconds that a verdict is over: ten of the pods' own looks, so that one stolen time slice makes no condition."""
_Seen = tuple[str, Burst]


class BurstWindow(msgspec.Struct, kw_only=True):
    """The pods' statements at the start of the stretch (boot id and statement by uid), and the last verdict."""

    at: float | None = None
    seen: dict[str, _Seen] = msgspec.field(default_factory=dict)
    verdict: Verdict | None = None


def look(reports: Mapping[str, Report], memory: BurstWindow, now: float) -> Verdict | None:
    """The verdict over the last whole stretch; None until there is one."""
    if memory.at is not None and now - memory.at < SPAN_S:
        return memory.verdict
    newest = {uid: (report.boot_id, report.burst) for uid, report in reports.items() if report.burst is not None}
    if memory.at is not None:
        pairs = [(memory.seen[uid], new) for uid, new in newest.items() if uid in memory.seen]
        stretches = [(old[1], new[1]) for old, new in pairs if old[0] == new[0]]
        memory.verdict = burst.verdict(stretches, now - memory.at) if stretches else None
    memory.at, memory.seen = now, newest
    return memory.verdict
