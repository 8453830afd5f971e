"""Lists everything now and then, and corrects the view: what is gone, what is newer, what was never heard of.

kopf lists again after a watch has expired (410) without saying what vanished meanwhile; a child that the view
still believes in would never be put back. So each of its lists is followed by a comparison. An event that was lost on
its way is made good as well, by those of each period. May not decide anything.
"""

import asyncio
import contextlib
import logging
import random
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final

from corefit_operator.cache.namespaces import GONE
from corefit_operator.cache.view import Key, View, spec_version
from corefit_operator.kube.api_error import ApiError
from corefit_operator.kube.cluster import Cluster, Listed
from corefit_operator.kube.metadata import Meta, decode_meta, decoded_or_none
from corefit_operator.kube.paths import CHILD_KINDS
from corefit_operator.kube.pods import decode_pod
from corefit_operator.kube.transform import TOO_LARGE
from corefit_operator.kube.workloads import decode_child

LOG: Final = logging.getLogger(__name__)
PERIOD_S: Final = 600.0
"""Seconds at most: client-go's informers resync every 10 h for lost events, but theirs notice what a relist lacks."""
LEAST_S: Final = 60.0
"""Seconds at least: seven lists a minute are nothing to an API server."""
OBJECTS_PER_S: Final = 20.0
"""What may be listed in the long run, about 100 KB/s: with few objects a comparison is cheap, and with few of a kind it
is likelier that none of it is left."""
SETTLED_S: Final = 2.0
"""Seconds from the first object of a list to the comparison: kopf lists each kind by itself, and hands on one object
after the other."""
RETRY_S: Final = 30.0
"""Seconds until a comparison that failed is tried again: a whole list is dear for an API server in trouble."""


class Resync:
    """Compares the view with lists.

    Args:
        dirty: called with each resource whose view was wrong.
        namespaces: to list; empty for all.
        period_s: seconds between two comparisons at most.
    """

    def __init__(
        self,
        cluster: Cluster,
        view: View,
        dirty: Callable[[Key], None],
        namespaces: Sequence[str],
        period_s: float = PERIOD_S,
    ) -> None:
        self._cluster = cluster
        self._view = view
        self._dirty = dirty
        self._period_s = period_s
        self._namespaces: Sequence[str | None] = tuple(namespaces) or (None,)
        self._relisted = asyncio.Event()

    def relisted(self) -> None:
        """Takes note that an object came from a list of kopf's, which doesn't say what it lacks."""
        self._relisted.set()

    async def run(self) -> None:
        """Compares after each list and every so often, until it is cancelled."""
        within_s = self._pause_s()
        while True:
            await self._due(within_s * random.uniform(0.8, 1.2))  # noqa: S311 - spreads load, guards nothing
            try:
                await self.once()
                within_s = self._pause_s()
            except ApiError as error:
                within_s = min(RETRY_S, self._period_s)
                LOG.warning("no comparison with the cluster, again in %.0f s: %s", within_s, error)
            except Exception:  # a fault of ours: the watches go on all the same
                within_s = min(RETRY_S, self._period_s)
                LOG.exception("no comparison with the cluster, again in %.0f s: a fault in the operator", within_s)

    def _pause_s(self) -> float:
        return min(self._period_s, max(LEAST_S, self._view.size() / OBJECTS_PER_S))

    async def _due(self, within_s: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                await self._relisted.wait()
                await asyncio.sleep(SETTLED_S)
        self._relisted.clear()

    async def once(self) -> None:
        """Compares everything once."""
        for namespace in self._namespaces:
            try:
                await self._compared(namespace)
            except ApiError as error:
                if namespace is None or error.status not in GONE:
                    raise
                LOG.info("namespace %s isn't compared: %s", namespace, error)

    async def _compared(self, namespace: str | None) -> None:
        for kind in CHILD_KINDS:
            self._children(kind, namespace, await self._cluster.list(kind, namespace, ours=True))
        self._pods(namespace, await self._cluster.list("Pod", namespace, ours=True))
        self._services(namespace, await self._cluster.list("InferenceService", namespace, ours=False))

    def _children(self, kind: str, namespace: str | None, listed: Listed) -> None:
        present = {item["metadata"]["uid"] for item in listed.items}
        for item in listed.items:
            child = decoded_or_none(partial(decode_child, kind), item)
            if child is not None and self._view.put_child(child):
                self._wake(child.metadata)
        for child in self._view.all_children(kind):
            if _gone(child.metadata, present, namespace, listed):
                self._view.drop_child(child)
                self._wake(child.metadata)

    def _pods(self, namespace: str | None, listed: Listed) -> None:
        present = {item["metadata"]["uid"] for item in listed.items}
        for item in listed.items:
            pod = decoded_or_none(decode_pod, item)
            if pod is not None and self._view.put_pod(pod):
                self._wake(pod.metadata)
        for pod in self._view.all_pods():
            if _gone(pod.metadata, present, namespace, listed):
                self._view.drop_pod(pod)
                self._wake(pod.metadata)

    def _services(self, namespace: str | None, listed: Listed) -> None:
        present = {item["metadata"]["uid"] for item in listed.items}
        for item in listed.items:
            before = self._view.service(self._view.key(item))
            key = self._view.put_service(item)
            if before is None or spec_version(before) != spec_version(item) or self._fits_again(key, before):
                self._dirty(key)
        for key in self._view.services():
            raw = self._view.service(key) or {}
            meta = decode_meta(raw)
            if _gone(meta, present, namespace, listed):
                self._dirty(self._view.drop_service(raw))

    def _fits_again(self, key: Key, before: Mapping[str, Any]) -> bool:
        """Whether there was no room for the resource before, and is some now, or the other way round."""
        return (TOO_LARGE in before) != (TOO_LARGE in (self._view.service(key) or before))

    def _wake(self, meta: Meta) -> None:
        owner = self._view.owner(meta)
        if owner is not None:
            self._dirty(owner)


def _gone(meta: Meta, present: set[str], namespace: str | None, listed: Listed) -> bool:
    """Whether a list that must hold the object, being newer than what is known of it, doesn't."""
    if meta.uid in present or namespace not in (None, meta.namespace):
        return False
    known, complete = meta.resource_version, listed.resource_version
    return known.isdecimal() and complete.isdecimal() and int(known) <= int(complete)
