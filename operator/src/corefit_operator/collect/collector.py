"""Reports of the runtime pods: concurrent GETs with one deadline, and what came of each.

A pod that answers late, not at all, with garbage, or for another pod is missing from the round, and nothing else:
it holds up no other, and at most `report.MAX_BYTES` of what it says are read. May not decide anything.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final

from aiohttp import ClientError

from corefit_core import report
from corefit_core.errors import CorefitError, InvalidInput
from corefit_operator.collect.report_client import ReportAddress, ReportClient
from corefit_operator.concurrency.fair_semaphore import FairSemaphore
from corefit_operator.kube.api_error import ApiError
from corefit_operator.kube.cluster import Cluster
from corefit_operator.kube.pods import Pod

LOG: Final = logging.getLogger(__name__)
DEADLINE_S: Final = 2.0
"""Seconds of one round: a report is one dictionary encoded in under a millisecond, so a pod that takes longer is
short of CPU, and its last report still counts for `Policy.max_report_age_s`."""
CONCURRENCY: Final = 1024
"""Requests in flight over all services, at most 80 MiB of what they say."""
SHARE: Final = 512
"""Of them those of one namespace. A pod that is silent holds one for the whole deadline: with a third of 5,000 pods of
one namespace silent a round of it takes 7 s, and those of others take what they always take."""
Fetch = Callable[[Pod], Awaitable[bytes]]


def direct(client: ReportClient, path: str = report.REPORT_PATH) -> Fetch:
    """By the pods' own addresses: for an operator in the cluster's network."""

    async def fetch(pod: Pod) -> bytes:
        return await client.get(ReportAddress(pod.status.pod_ip, pod.admin_port, path))

    return fetch


def proxied(cluster: Cluster, path: str = report.REPORT_PATH) -> Fetch:
    """Through the API server's pod proxy: for an operator outside the cluster's network."""

    async def fetch(pod: Pod) -> bytes:
        meta = pod.metadata
        return await cluster.pod_get(meta.namespace, meta.name, pod.admin_port, path.lstrip("/"), report.MAX_BYTES)

    return fetch


class Collector:
    """Collects the reports of the pods of one service at a time.

    Args:
        fetch: how a pod is asked.
        observe: counts each pod's outcome, for the metrics.
    """

    def __init__(self, fetch: Fetch, observe: Callable[[str], None]) -> None:
        self._fetch = fetch
        self._observe = observe
        self._turns: FairSemaphore[str] = FairSemaphore(CONCURRENCY, SHARE)

    async def collect(self, pods: Sequence[Pod]) -> Mapping[str, report.Report]:
        """The reports that arrived before the deadline, by pod uid."""
        asked = [pod for pod in pods if pod.live and pod.status.pod_ip]
        reports: dict[str, report.Report] = {}
        async with asyncio.TaskGroup() as group:
            for pod in asked:
                group.create_task(self._one(pod, reports))
        return reports

    async def _one(self, pod: Pod, reports: dict[str, report.Report]) -> None:
        try:
            async with self._turns.of(pod.metadata.namespace), asyncio.timeout(DEADLINE_S):
                body = await self._fetch(pod)
            found = _report_of(pod, body)
        except TimeoutError:
            self._observe("timeout")
        except (ApiError, ClientError, OSError):
            self._observe("unreachable")
        except CorefitError:
            self._observe("invalid")
        except Exception:  # a fault of ours included: it must not take the reports of other pods along
            LOG.exception("pod %s/%s: a fault in the operator", pod.metadata.namespace, pod.metadata.name)
            self._observe("invalid")
        else:
            self._observe("ok")
            reports[pod.metadata.uid] = found


def _report_of(pod: Pod, body: bytes) -> report.Report:
    found = report.decode(body)
    if found.pod_uid and found.pod_uid != pod.metadata.uid:
        raise InvalidInput(f"the report of pod {found.pod_uid}")
    return found
