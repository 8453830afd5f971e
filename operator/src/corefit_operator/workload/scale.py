"""Writes the replicas of a workload by its scale subresource, which has no other writer. May not decide how many."""

from http import HTTPStatus

from corefit_core.service import Service
from corefit_operator.cache.view import View
from corefit_operator.children import writes
from corefit_operator.kube.api_error import ApiError
from corefit_operator.kube.cluster import Cluster
from corefit_operator.kube.workloads import Child, with_replicas


async def rescale(cluster: Cluster, view: View, service: Service, workload: Child, replicas: int) -> None:
    """Gives a workload other replicas, provided that it still is what it was when that was decided."""
    meta, current = workload.metadata, workload.spec.replicas
    try:
        version = await cluster.scale(
            workload.kind, service.namespace, meta.name, uid=meta.uid, current=current, replicas=replicas
        )
    except ApiError as error:
        if error.status in (HTTPStatus.CONFLICT, HTTPStatus.NOT_FOUND) and not service.injected:
            await writes.refresh(cluster, view, workload)
        raise
    if not service.injected:  # a workload of others is looked at anew each time
        view.put_child(with_replicas(workload, replicas, version))
