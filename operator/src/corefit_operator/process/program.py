"""The composition root: makes every part, joins them, runs them, and ends them in order. Nothing else does so."""

import asyncio
import logging
import time
import uuid
from collections.abc import Sequence
from contextlib import AsyncExitStack
from functools import partial
from typing import Final, Literal

import msgspec
from kubernetes.aio.client import ApiClient, Configuration

from corefit_core import report
from corefit_operator.cache.informer import Informer
from corefit_operator.cache.namespaces import Namespaces
from corefit_operator.cache.resync import Resync
from corefit_operator.cache.view import Key, View
from corefit_operator.children.defaults import Defaults
from corefit_operator.children.upgrades import Upgrades
from corefit_operator.collect import collector
from corefit_operator.collect.attention import Attention
from corefit_operator.collect.collector import Collector
from corefit_operator.collect.report_client import ReportClient
from corefit_operator.concurrency.tasks import Run, Stopping, first_of
from corefit_operator.concurrency.workqueue import WorkQueue
from corefit_operator.kube import connection
from corefit_operator.kube import lease as leases
from corefit_operator.kube.api_error import ApiError
from corefit_operator.kube.cluster import Cluster
from corefit_operator.kube.fence import Fence
from corefit_operator.kube.lease import Lease, LeaseName
from corefit_operator.process import health
from corefit_operator.process.controller import SHARE, Controller
from corefit_operator.reconcile.reconciler import Reconciler
from corefit_operator.resize.node_headroom import Headroom
from corefit_operator.resize.resizer import Resizer
from corefit_operator.telemetry.metrics import Metrics
from corefit_operator.telemetry.recorder import Recorder
from corefit_operator.workload.sidecars import Sidecars

LOG: Final = logging.getLogger(__name__)
CRD_RETRY_S: Final = 5.0
"""Seconds between two looks for the CRD: it is installed once, by a person or by helm just before us."""

DRAIN_S: Final = 5.0
"""Seconds that writes on their way have before the lease is let go; they take milliseconds."""

Via = Literal["auto", "pod", "proxy"]


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What the command line says.

    Attributes:
        kubeconfig, context: how to reach the cluster; None for the pod's own ServiceAccount.
        namespaces: to watch; empty for all.
        host, port: of health and metrics.
        round_s: seconds between two collections of reports.
        resync_s: seconds between two comparisons of the view with whole lists, at most.
        via: how reports are fetched; auto is by pod address inside a cluster, by the API server's proxy outside.
        identity: who says Events, and who leads.
        lease: to lead by; None for an operator that is alone by someone else's word.
        upgrades_at_once: resources whose pods may be rolled at a time on the operator's own account.
        injection_account: its ServiceAccount, where the chart's admission policies are installed; else empty.
    """

    kubeconfig: str | None
    context: str | None
    namespaces: tuple[str, ...]
    defaults: Defaults
    host: str
    port: int
    round_s: float
    resync_s: float
    via: Via
    identity: str
    lease: LeaseName | None
    upgrades_at_once: int
    injection_account: str


async def run(settings: Settings) -> None:
    """Runs the operator until SIGTERM or SIGINT, or until something fails that only a restart mends."""
    stopping = Stopping()
    configuration = await connection.load(settings.kubeconfig, settings.context)
    metrics, started = Metrics(), asyncio.Event()
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(ApiClient(configuration))
        lease_client = await stack.enter_async_context(ApiClient(configuration))
        reports, questions = await _fetches(stack, settings.via, configuration, metrics)
        await stack.enter_async_context(health.serving(settings.host, settings.port, metrics, started))
        lease = _lease(settings, lease_client, metrics)
        fence = Fence(lease.left_s) if lease else Fence()
        cluster = Cluster(client, metrics.request, fence=fence)
        view, queue = View(), WorkQueue[Key](lambda key: key.namespace, SHARE)
        resync = Resync(cluster, view, queue.add, settings.namespaces, settings.resync_s)
        login = partial(connection.kopf_login, configuration)
        informer = Informer(view, queue.add, resync.relisted, login)
        attention = Attention(questions, queue.add_after, metrics.call, time.monotonic)
        asking = Collector(reports, metrics.report)
        reconciler = _reconciler(settings, cluster, view, metrics, collector=asking, attention=attention)
        work = (
            Controller(queue, reconciler.reconcile, metrics).run,
            resync.run,
            attention.run,
        )

        async def watch() -> None:
            await _until_served(cluster)
            namespaces = Namespaces(cluster, settings.namespaces)
            found = await namespaces.readable()
            await first_of(
                partial(informer.run, found, started, stopping.install),
                partial(namespaces.changed, found),
            )

        async def lead() -> None:
            await started.wait()
            await _lead(lease, work, metrics)

        try:
            await first_of(stopping.wait, watch, lead, before_end=partial(fence.close, DRAIN_S))
        finally:
            if lease:
                await lease.release()


async def _lead(lease: Lease | None, work: Sequence[Run], metrics: Metrics) -> None:
    """Works while this process leads. A follower watches all the while, so it begins with a view that is up to date."""
    if lease is None:
        metrics.leader.set(1)
        await first_of(*work)
        return
    await lease.acquire()
    metrics.leader.set(1)
    await first_of(lease.hold, *work)


def _lease(settings: Settings, client: ApiClient, metrics: Metrics) -> Lease | None:
    if settings.lease is None:
        return None
    cluster = Cluster(client, metrics.request, timeout_s=leases.REQUEST_TIMEOUT_S)
    # A restart in the same pod is another candidate: what the one before has sent may still be on its way.
    identity = f"{settings.identity}_{uuid.uuid4().hex[:8]}"
    return Lease(cluster, settings.lease, identity, leases.clock)


def _reconciler(
    settings: Settings, cluster: Cluster, view: View, metrics: Metrics, *, collector: Collector, attention: Attention
) -> Reconciler:
    headroom = Headroom(cluster, time.monotonic, allowed=not settings.namespaces)
    return Reconciler(
        cluster=cluster,
        view=view,
        collector=collector,
        recorder=Recorder(cluster, settings.identity, time.monotonic),
        resizer=Resizer(cluster, view, headroom, metrics, time.monotonic),
        headroom=headroom,
        metrics=metrics,
        sidecars=Sidecars(cluster, view, settings.defaults, settings.injection_account, time.monotonic),
        defaults=settings.defaults,
        clock=time.monotonic,
        round_s=settings.round_s,
        upgrades=Upgrades(settings.upgrades_at_once),
        attention=attention,
    )


async def _fetches(
    stack: AsyncExitStack, via: Via, configuration: Configuration, metrics: Metrics
) -> list[collector.Fetch]:
    """How reports are fetched, and whether they call for attention."""
    paths = (report.REPORT_PATH, report.ATTENTION_PATH)
    if via == "pod" or (via == "auto" and connection.in_cluster()):
        client = await stack.enter_async_context(ReportClient(report.MAX_BYTES, time.monotonic))
        return [collector.direct(client, path) for path in paths]
    # Of their own: pods that are silent would hold the connections that writes wait for, and those that hold the
    # question for attention the ones that reports wait for.
    clients = [await stack.enter_async_context(ApiClient(configuration)) for _ in paths]
    return [
        collector.proxied(Cluster(client, metrics.request), path) for client, path in zip(clients, paths, strict=True)
    ]


async def _until_served(cluster: Cluster) -> None:
    """Waits for the CRD: without it there is nothing to watch, and kopf would look for it only once."""
    while True:
        try:
            if await cluster.serves("InferenceService"):
                return
            LOG.warning("the InferenceService CRD is not installed: kubectl apply -f crds/")
        except ApiError as error:
            LOG.warning("the API server can't be used yet: %s", error)
        await asyncio.sleep(CRD_RETRY_S)
