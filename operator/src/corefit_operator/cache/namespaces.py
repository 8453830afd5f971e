"""Which of the namespaces that are to be watched may be looked at, since one that is deleted takes its Role along.

Were it watched all the same, the API server's 403 would end the process, again and again, and with it the work on
all others. May not watch anything itself.
"""

import asyncio
import contextlib
import logging
from collections.abc import Sequence
from http import HTTPStatus
from typing import Final

from corefit_core.errors import CorefitError
from corefit_operator.kube.api_error import ApiError
from corefit_operator.kube.cluster import Cluster

LOG: Final = logging.getLogger(__name__)
LOOK_S: Final = 10.0
"""Seconds between two looks at those that could not be looked at: a namespace is made by a person, with its Role."""
GONE: Final = (HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND)
"""How the API server answers for a namespace that was deleted with its Role."""


class NamespacesChanged(CorefitError):
    """A namespace can be looked at by now; watching begins anew, after a restart of the process."""


class Namespaces:
    """Those that are to be watched, and what was said of them: each thing once, and again only when it changes.

    Args:
        wanted: empty for all.
    """

    def __init__(self, cluster: Cluster, wanted: Sequence[str]) -> None:
        self._cluster = cluster
        self._wanted = tuple(wanted)
        self._said: dict[str, str] = {}

    async def readable(self) -> tuple[str, ...]:
        """Those of the namespaces that may be looked at; waits until there is one. Empty for all, as asked."""
        while True:
            try:
                found = tuple([name for name in self._wanted if await self._may(name)])
            except ApiError:  # of one that may be there all the same
                found = ()
            if found or not self._wanted:
                return found
            await asyncio.sleep(LOOK_S)

    async def changed(self, found: Sequence[str]) -> None:
        """Looks now and then at those that could not be looked at; never returns while there are none.

        Raises:
            NamespacesChanged: one of them can be by now.
        """
        missing = [name for name in self._wanted if name not in found]
        if not missing:
            await asyncio.Event().wait()
        while True:
            await asyncio.sleep(LOOK_S)
            for name in missing:
                with contextlib.suppress(ApiError):
                    if await self._may(name):
                        raise NamespacesChanged(f"namespace {name} is there by now, and watched after a restart")

    async def _may(self, namespace: str) -> bool:
        try:
            await self._cluster.may_list("InferenceService", namespace)
        except ApiError as error:
            if error.status not in GONE:
                self._say(namespace, f"can't be looked at yet: {error}")
                raise
            mend = f"If it was deleted, take it out of watchNamespaces; it is looked at again every {LOOK_S:.0f} s"
            self._say(namespace, f"isn't watched: {error}. {mend}")
            return False
        self._said.pop(namespace, None)
        return True

    def _say(self, namespace: str, what: str) -> None:
        if self._said.get(namespace) != what:
            self._said[namespace] = what
            LOG.warning("namespace %s %s", namespace, what)
