"""What the bench sees of pods while it sends: CPU requested, who is ready, and what each pod has completed."""

import asyncio
import contextlib
from typing import Any, Final

import aiohttp
import msgspec
from manifests import NAME
from prometheus_client.parser import text_string_to_metric_families

from corefit.demo.tools import Tools
from corefit_core import naming
from corefit_core.report import REPORT_PATH, Report, decode
from corefit_operator.resize.node_headroom import requested

LOOK_S: Final = 0.5
OF_SERVICE: Final = f"{naming.LABEL_SERVICE}={NAME}"
OF_BALANCER: Final = f"{naming.LABEL_BALANCER}={NAME}"


class Look(msgspec.Struct, frozen=True, kw_only=True):
    """One moment.

    Attributes:
        millicores: that the service's pods request, from when they have a node until they are gone.
        balancer_millicores: likewise of the balancer's.
        ready: the pods that are ready, by name.
        completed, rejected: of each pod that answered, since it started.
    """

    at_s: float
    millicores: int
    balancer_millicores: int
    ready: list[str]
    completed: dict[str, int]
    rejected: dict[str, int]


class Watch:
    """Looks at the pods until it is cancelled; keeps what it saw.

    Attributes:
        looks: by time.
        first, reports: the first and the newest report of each pod, by name.
    """

    def __init__(self, api: str, namespace: str) -> None:
        self._pods_url = f"{api}/api/v1/namespaces/{namespace}/pods"
        self.looks: list[Look] = []
        self.first: dict[str, Report] = {}
        self.reports: dict[str, Report] = {}

    async def run(self, start: float) -> None:
        """Looks twice a second, for ever."""
        loop = asyncio.get_running_loop()
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=2)) as session:
            while True:
                await self._look(session, loop.time() - start)
                await asyncio.sleep(LOOK_S)

    async def _look(self, session: aiohttp.ClientSession, at_s: float) -> None:
        service, balancer = [await self._pods(session, selector) for selector in (OF_SERVICE, OF_BALANCER)]
        ready = {_name(pod): str(pod["status"]["podIP"]) for pod in service if _ready(pod)}
        await asyncio.gather(*(self._ask(session, name, address) for name, address in ready.items()))
        counters = {name: report.counters for name, report in self.reports.items()}
        self.looks.append(
            Look(
                at_s=at_s,
                millicores=sum(map(requested, filter(_bound, service))),
                balancer_millicores=sum(map(requested, filter(_bound, balancer))),
                ready=sorted(ready),
                completed={name: each.completed for name, each in counters.items()},
                rejected={name: each.rejected_total for name, each in counters.items()},
            )
        )

    async def _pods(self, session: aiohttp.ClientSession, selector: str) -> list[dict[str, Any]]:
        async with session.get(self._pods_url, params={"labelSelector": selector}) as response:
            items: list[dict[str, Any]] = msgspec.json.decode(await response.read())["items"]
        return items

    async def _ask(self, session: aiohttp.ClientSession, name: str, address: str) -> None:
        with contextlib.suppress(aiohttp.ClientError, TimeoutError):
            async with session.get(f"http://{address}:{naming.PORT_ADMIN}{REPORT_PATH}") as response:
                self.reports[name] = decode(await response.read())
                self.first.setdefault(name, self.reports[name])


def balancer_cpu_s(tools: Tools, namespace: str) -> float:
    """CPU seconds that the balancer's pods have used so far, as their kubelet says."""
    nodes = tools.json("kubectl", "get", "nodes", "--output", "json")["items"]
    return sum(_used_s(tools, str(node["metadata"]["name"]), namespace) for node in nodes)


def _used_s(tools: Tools, node: str, namespace: str) -> float:
    text = tools.run("kubectl", "get", "--raw", f"/api/v1/nodes/{node}/proxy/metrics/resource")
    samples = [s for family in text_string_to_metric_families(text) for s in family.samples]
    used = [s for s in samples if s.name == "pod_cpu_usage_seconds_total" and s.labels["namespace"] == namespace]
    return sum(s.value for s in used if s.labels["pod"].startswith(naming.balancer_name(NAME)))


def _name(pod: dict[str, Any]) -> str:
    return str(pod["metadata"]["name"])


def _ready(pod: dict[str, Any]) -> bool:
    conditions = pod["status"].get("conditions", ())
    leaves = pod["metadata"].get("deletionTimestamp") is not None
    return not leaves and any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


def _bound(pod: dict[str, Any]) -> bool:
    return bool(pod["spec"].get("nodeName")) and pod["status"].get("phase") in ("Pending", "Running")
