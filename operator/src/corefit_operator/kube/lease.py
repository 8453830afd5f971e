"""The Lease that operators lead by: takes it, renews it, lets it go. What the record means is `core.election`'s.

Its requests are the only writes that pass no fence. Each carries the resource version that was read, so of two that
would take the lease the API server lets one. May not decide what a leader does.
"""

import asyncio
import logging
import random
import time
from collections.abc import Callable
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any, Final, NamedTuple

from corefit_core import election
from corefit_core.election import Record, Seen
from corefit_core.errors import CorefitError
from corefit_operator.kube.api_error import ApiError
from corefit_operator.kube.cluster import Cluster

LOG: Final = logging.getLogger(__name__)
REQUEST_TIMEOUT_S: Final = 3.0
"""Seconds: two tries and their pauses fit into the renew deadline."""
JITTER: Final = 0.2
"""Share by which a pause is lengthened at random, as client-go does: two followers don't step on each other."""


class LeaseLost(CorefitError):
    """The lease could not be renewed in time, or another holds it: this process must write nothing more and end."""


class LeaseName(NamedTuple):
    """Where the Lease is."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


class Lease:
    """One candidate's part in the election.

    Args:
        cluster: of its own, so that no other request holds up a renewal.
        identity: of this process; another process, a restart of this one included, has another.
        clock: seconds that go on while the machine sleeps, or a leader would wake up and write.
    """

    def __init__(self, cluster: Cluster, place: LeaseName, identity: str, clock: Callable[[], float]) -> None:
        self._cluster = cluster
        self._place = place
        self._identity = identity
        self._clock = clock
        self._seen: Seen | None = None
        self._version = ""
        self._until = float("-inf")

    def left_s(self) -> float:
        """Seconds in which this process may still write."""
        return self._until - self._clock()

    async def acquire(self) -> None:
        """Waits until this process leads."""
        holder: str | None = None
        while not await self._attempt():
            record = self._seen.record if self._seen else Record()
            if record.holder != holder:
                holder = record.holder
                LOG.info("standing by: %s leads by Lease %s", holder or "nobody yet", self._place)
            await asyncio.sleep(self._pause_s())
        LOG.info("%s leads by Lease %s", self._identity, self._place)

    async def hold(self) -> None:
        """Renews the lease until it can't.

        Raises:
            LeaseLost: this process must write nothing more, and end.
        """
        while self.left_s() > 0:
            await asyncio.sleep(min(_jittered(election.RETRY_S), max(0.0, self.left_s())))
            if not await self._attempt() and self._seen and self._seen.record.holder != self._identity:
                break
        self._until = float("-inf")
        raise LeaseLost(f"Lease {self._place} was lost; another operator may lead now")

    async def release(self) -> None:
        """Lets go, so that another can lead at once; if that fails it waits for the duration instead."""
        self._until = float("-inf")
        try:
            await self._look()
            if self._seen is not None and self._seen.record.holder == self._identity:
                await self._write(election.released(self._seen.record, _timestamp()))
                LOG.info("Lease %s is let go", self._place)
        except ApiError as error:
            LOG.warning("Lease %s can't be let go: %s", self._place, error)

    async def _attempt(self) -> bool:
        """Takes or renews the lease if it may; whether this process leads for the full time again."""
        try:
            await self._look()
            started = self._clock()
            if self._seen is not None and election.free_in_s(self._seen, self._identity, started) > 0:
                return False
            await self._write(election.taken(self._seen.record if self._seen else None, self._identity, _timestamp()))
        except ApiError as error:
            if error.status != HTTPStatus.CONFLICT:
                LOG.warning("Lease %s: %s", self._place, error)
            return False
        self._until = started + election.RENEW_DEADLINE_S
        return True

    async def _look(self) -> None:
        """Reads the Lease. One that was deleted is still respected for its duration, since its holder may write."""
        raw = await self._cluster.get("Lease", self._place.namespace, self._place.name)
        if raw is None:
            self._version = ""
        else:
            self._learn(raw)

    async def _write(self, record: Record) -> None:
        meta = {"name": self._place.name, "namespace": self._place.namespace}
        body = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "spec": _spec(record)}
        if self._version:
            meta["resourceVersion"] = self._version
            raw = await self._cluster.replace("Lease", {**body, "metadata": meta})
        else:
            raw = await self._cluster.create("Lease", {**body, "metadata": meta})
        self._learn(raw)

    def _learn(self, raw: dict[str, Any]) -> None:
        self._seen = election.seen(self._seen, _record(raw.get("spec") or {}), self._clock())
        self._version = str(raw["metadata"].get("resourceVersion", ""))

    def _pause_s(self) -> float:
        """Until the next look of a follower: the moment at which the lease comes free, if that is sooner."""
        free = election.free_in_s(self._seen, self._identity, self._clock()) if self._seen else 0.0
        pause = _jittered(election.RETRY_S)
        return min(pause, free) if free > 0 else pause


def clock() -> float:
    """Seconds that go on while the machine sleeps, where the system has such a clock."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


def _record(spec: dict[str, Any]) -> Record:
    return Record(
        holder=spec.get("holderIdentity") or "",
        duration_s=float(spec.get("leaseDurationSeconds") or 0),
        acquired_at=spec.get("acquireTime") or "",
        renewed_at=spec.get("renewTime") or "",
        transitions=int(spec.get("leaseTransitions") or 0),
    )


def _spec(record: Record) -> dict[str, Any]:
    return {
        "holderIdentity": record.holder,
        "leaseDurationSeconds": round(record.duration_s),
        "acquireTime": record.acquired_at or None,
        "renewTime": record.renewed_at,
        "leaseTransitions": record.transitions,
    }


def _timestamp() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _jittered(seconds: float) -> float:
    return seconds * random.uniform(1, 1 + JITTER)  # noqa: S311 - spreads load, guards nothing
