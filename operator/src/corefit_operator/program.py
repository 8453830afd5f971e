"""The composition root: makes every part, joins them, runs them, and ends them in order. Nothing else does so."""

import asyncio
import logging
import time
from contextlib import AsyncExitStack
from functools import partial
from typing import Final, Literal

import msgspec
from aiohttp import ClientSession
from kubernetes.aio.client import ApiClient, Configuration

from corefit_operator import collector, connection, health
from corefit_operator.cluster import ApiError, Cluster
from corefit_operator.collector import Collector
from corefit_operator.controller import Controller
from corefit_operator.headroom import Headroom
from corefit_operator.informer import Informer
from corefit_operator.manifests import Defaults
from corefit_operator.metrics import Metrics
from corefit_operator.reconcile import Reconciler
from corefit_operator.recorder import Recorder
from corefit_operator.resizing import Resizer
from corefit_operator.resync import Resync
from corefit_operator.sidecars import Sidecars
from corefit_operator.upgrades import Upgrades
from corefit_operator.view import Key, View
from corefit_operator.workqueue import WorkQueue

LOG: Final = logging.getLogger(__name__)
CRD_RETRY_S: Final = 5.0
"""Seconds between two looks for the CRD: it is installed once, by a person or by helm just before us."""

Via = Literal["auto", "pod", "proxy"]


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What the command line says.

    Attributes:
        kubeconfig, context: how to reach the cluster; None for the pod's own ServiceAccount.
        namespaces: to watch; empty for all.
        host, port: of health and metrics.
        round_s: seconds between two collections of reports.
        via: how reports are asked for; auto is by pod address inside a cluster, by the API server's proxy outside.
        identity: who says Events.
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
    via: Via
    identity: str
    upgrades_at_once: int
    injection_account: str


async def run(settings: Settings) -> None:
    """Runs the operator until SIGTERM or SIGINT, or until something fails that only a restart mends."""
    configuration = await connection.load(settings.kubeconfig, settings.context)
    metrics, started = Metrics(), asyncio.Event()
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(ApiClient(configuration))
        session = await stack.enter_async_context(collector.session())
        await stack.enter_async_context(health.serving(settings.host, settings.port, metrics, started))
        cluster = Cluster(client, metrics.request)
        await _until_served(cluster)
        await _operate(
            settings=settings,
            configuration=configuration,
            cluster=cluster,
            session=session,
            metrics=metrics,
            started=started,
        )


async def _operate(
    *,
    settings: Settings,
    configuration: Configuration,
    cluster: Cluster,
    session: ClientSession,
    metrics: Metrics,
    started: asyncio.Event,
) -> None:
    view, queue = View(), WorkQueue[Key]()
    reconciler = Reconciler(
        cluster=cluster,
        view=view,
        collector=Collector(_fetch(settings.via, cluster, session), metrics.report),
        recorder=Recorder(cluster, settings.identity, time.monotonic),
        resizer=Resizer(cluster, view, Headroom(cluster, time.monotonic), metrics, time.monotonic),
        metrics=metrics,
        sidecars=Sidecars(cluster, view, settings.defaults, settings.injection_account, time.monotonic),
        defaults=settings.defaults,
        clock=time.monotonic,
        round_s=settings.round_s,
        upgrades=Upgrades(settings.upgrades_at_once),
    )
    informer = Informer(view, queue.add, partial(connection.kopf_login, configuration), settings.namespaces)
    background = (
        asyncio.create_task(Controller(queue, reconciler.reconcile, metrics).run()),
        asyncio.create_task(Resync(cluster, view, queue.add, settings.namespaces).run()),
    )
    watching = asyncio.create_task(informer.run(started))
    try:
        done, _ = await asyncio.wait((watching, *background), return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        await _ended((watching, *background))


async def _ended(tasks: tuple[asyncio.Task[None], ...]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _fetch(via: Via, cluster: Cluster, session: ClientSession) -> collector.Fetch:
    by_address = via == "pod" or (via == "auto" and connection.in_cluster())
    return collector.direct(session) if by_address else collector.proxied(cluster)


async def _until_served(cluster: Cluster) -> None:
    """Waits for the CRD: without it there is nothing to watch, and kopf would look for it only once."""
    while True:
        try:
            if await cluster.served():
                return
            LOG.warning("the InferenceService CRD is not installed: kubectl apply -f crds/")
        except ApiError as error:
            LOG.warning("the API server can't be used yet: %s", error)
        await asyncio.sleep(CRD_RETRY_S)
