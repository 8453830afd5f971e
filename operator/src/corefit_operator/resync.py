"""Lists everything now and then, and corrects the view: what is gone, what is newer, what was never heard of.

kopf lists again after a watch has expired (410) without saying what vanished meanwhile; a child that the view
still believes in would never be put back. An event that was lost on its way is made good as well.
May not decide anything.
"""

import asyncio
import logging
import random
from collections.abc import Callable, Sequence
from typing import Final

from corefit_operator import objects
from corefit_operator.cluster import ApiError, Cluster, Listed
from corefit_operator.manifests import KINDS
from corefit_operator.view import Key, View, asked

LOG: Final = logging.getLogger(__name__)
PERIOD_S: Final = 600.0
"""Seconds: client-go's informers resync every 10 h for lost events, but theirs notice what a relist lacks."""


class Resync:
    """Compares the view with lists.

    Args:
        dirty: told of each resource whose view was wrong.
        namespaces: to list; empty for all.
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

    async def run(self) -> None:
        """Compares every so often until it is cancelled; what fails is tried again in the next period."""
        while True:
            await asyncio.sleep(self._period_s * random.uniform(0.8, 1.2))  # noqa: S311 - spreads load, guards nothing
            try:
                await self.once()
            except ApiError as error:
                LOG.warning("no comparison with the cluster this time: %s", error)

    async def once(self) -> None:
        """Compares everything once."""
        for namespace in self._namespaces:
            for kind in KINDS:
                self._children(kind, namespace, await self._cluster.list(kind, namespace, ours=True))
            self._pods(namespace, await self._cluster.list("Pod", namespace, ours=True))
            self._services(namespace, await self._cluster.list("InferenceService", namespace, ours=False))

    def _children(self, kind: str, namespace: str | None, listed: Listed) -> None:
        present = {item["metadata"]["uid"] for item in listed.items}
        for item in listed.items:
            child = objects.child(kind, item)
            if self._view.put_child(child):
                self._wake(child.metadata)
        for child in self._view.all_children(kind):
            if _gone(child.metadata, present, namespace, listed):
                self._view.drop_child(child)
                self._wake(child.metadata)

    def _pods(self, namespace: str | None, listed: Listed) -> None:
        present = {item["metadata"]["uid"] for item in listed.items}
        for item in listed.items:
            pod = objects.pod(item)
            if self._view.put_pod(pod):
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
            if before is None or asked(before) != asked(item):
                self._dirty(key)
        for key in self._view.services():
            raw = self._view.service(key) or {}
            meta = objects.meta(raw)
            if _gone(meta, present, namespace, listed):
                self._dirty(self._view.drop_service(raw))

    def _wake(self, meta: objects.Meta) -> None:
        owner = self._view.owner(meta)
        if owner is not None:
            self._dirty(owner)


def _gone(meta: objects.Meta, present: set[str], namespace: str | None, listed: Listed) -> bool:
    """Whether a list that must hold the object, being newer than what is known of it, doesn't."""
    if meta.uid in present or namespace not in (None, meta.namespace):
        return False
    known, complete = meta.resource_version, listed.resource_version
    return known.isdecimal() and complete.isdecimal() and int(known) <= int(complete)
