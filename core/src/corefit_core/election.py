"""Who leads, by the rules of client-go's leader election: pure functions on the record that a Lease holds.

No clock of another machine is ever compared with ours. A record counts as expired when it has been seen unchanged
for the lease's duration on our own clock; the times in it are for people. May not do I/O.
"""

from typing import Final

import msgspec

DURATION_S: Final = 12.0
"""Seconds that a record must stand unchanged before another may take it. With `RETRY_S` a follower leads at most
14 s after the last renewal of a leader that was killed: the 20 s that a failover may take leave 6 s for slow answers.
client-go's default is 15."""
RENEW_DEADLINE_S: Final = 8.0
"""Seconds after the start of its last good renewal in which a leader may write. 4 s below the duration: that is what
a request on its way, and clocks that run at different speeds, may take. client-go's default is 10."""
RETRY_S: Final = 2.0
"""Seconds between two renewals, and between two looks of a follower: client-go's default."""
RELEASED_S: Final = 1.0
"""Duration that a released record bears, as client-go's does: a reader that wants a positive one finds it."""


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """The spec of a Lease.

    Attributes:
        holder: identity of the leader; empty when nobody leads.
        duration_s: for which it holds, by its holder's word.
        acquired_at, renewed_at: RFC 3339, for people.
        transitions: how often the leader has changed.
    """

    holder: str = ""
    duration_s: float = DURATION_S
    acquired_at: str = ""
    renewed_at: str = ""
    transitions: int = 0


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """A record, and since when it has been seen to be just so, in seconds of our own clock."""

    record: Record
    since: float


def seen(before: Seen | None, record: Record, now: float) -> Seen:
    """What is known after another look: a record that hasn't changed keeps its time."""
    return before if before is not None and before.record == record else Seen(record=record, since=now)


def free_in_s(known: Seen, identity: str, now: float) -> float:
    """Seconds until `identity` may take the lease, if nobody renews it; 0 for now."""
    if known.record.holder in ("", identity):
        return 0.0
    return max(0.0, known.since + max(DURATION_S, known.record.duration_s) - now)


def taken(record: Record | None, identity: str, at: str) -> Record:
    """The record with which `identity` takes the lease, or goes on holding it."""
    if record is not None and record.holder == identity:
        return msgspec.structs.replace(record, duration_s=DURATION_S, renewed_at=at)
    transitions = 0 if record is None else record.transitions + 1
    return Record(holder=identity, acquired_at=at, renewed_at=at, transitions=transitions)


def released(record: Record, at: str) -> Record:
    """The record with which its holder lets go: any other may take it at once."""
    return msgspec.structs.replace(record, holder="", duration_s=RELEASED_S, renewed_at=at)
