"""A look at the resource itself before something is done that an old view could make wrong. May not decide anything."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from corefit_operator.cache.view import Key, View, spec_version
from corefit_operator.kube.api_error import ApiError
from corefit_operator.kube.cluster import Cluster


async def confirm(cluster: Cluster, view: View, key: Key, raw: Mapping[str, Any]) -> None:
    """Reads the resource before children are written or replicas fall: the view may be behind, and its watch too.

    Raises:
        ApiError: it asks for something else by now, which the view then knows.
    """
    newest = await cluster.get("InferenceService", key.namespace, key.name)
    if newest is None:
        view.drop_service(raw)
    else:
        view.put_service(newest)
        if spec_version(newest) == spec_version(raw):
            return
    raise ApiError("the resource asks for something else by now", status=HTTPStatus.CONFLICT)
