"""Which of the namespaces that are to be watched may be looked at, since one that is deleted takes its Role along.

Were it watched all the same, the API server's 403 would end the process, again and again, and with it the work on
all others. May not watch anything itself.
"""

import asyncio
import logging
from collections.abc import Sequence
from http import HTTPStatus
from typing import Final

from corefit_core.errors import CorefitError
from corefit_operator.api_error import ApiError
from corefit_operator.cluster import Cluster

LOG: Final = logging.getLogger(__name__)
LOOK_S: Final = 10.0
"""Seconds between two looks at those that could not be looked at: a namespace is made by a person, with its Role."""
GONE: Final = (HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND)
"""How the API server answers for a namespace that was deleted with its Role."""


class NamespacesChanged(CorefitError):
    """A namespace can be looked at by now; watching begins anew, after a restart of the process."""


async def readable(cluster: Cluster, wanted: Sequence[str]) -> tuple[str, ...]:
    """Those of the namespaces that may be looked at; waits until there is one. Empty for all, as asked."""
    while True:
        try:
            found = tuple([name for name in wanted if await _may(cluster, name)])
        except ApiError as error:
            LOG.warning("the namespaces can't be looked at yet: %s", error)
        else:
            if found or not wanted:
                return found
        await asyncio.sleep(LOOK_S)


async def changed(cluster: Cluster, wanted: Sequence[str], found: Sequence[str]) -> None:
    """Looks now and then at those that could not be looked at; never returns while there are none.

    Raises:
        NamespacesChanged: one of them can be by now.
    """
    missing = [name for name in wanted if name not in found]
    if not missing:
        await asyncio.Event().wait()
    while True:
        await asyncio.sleep(LOOK_S)
        for name in missing:
            try:
                there = await _may(cluster, name)
            except ApiError as error:
                LOG.warning("namespace %s: %s", name, error)
                continue
            if there:
                raise NamespacesChanged(f"namespace {name} is there by now, and watched after a restart")


async def _may(cluster: Cluster, namespace: str) -> bool:
    try:
        await cluster.list("InferenceService", namespace, ours=False)
    except ApiError as error:
        if error.status not in GONE:
            raise
        LOG.warning(
            "namespace %s isn't watched: %s. If it was deleted, take it out of watchNamespaces; it is looked at again "
            "every %.0f s",
            namespace,
            error,
            LOOK_S,
        )
        return False
    return True
