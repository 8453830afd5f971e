"""`make bench-queue`: blind clients before one to four pods, with kube-proxy and with one queue between them.

    PYTHONPATH=. python bench/queue/run.py [--only each kept renewed] [--balancing Direct Queue] [--quick] [--again]

One service of the load model under a step to four times the load, from one pod. The clients know nothing of pods and
connect in three ways. What counts: requests within the objective, core-seconds requested with the balancer's among
them, and each pod's share. The last line is the simulator's one queue with the same arrivals and with what was
measured of the pods. Results are kept by client and balancing; `--again` only makes the table from them.
"""

import argparse
import asyncio
import math
import os
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import figures
import manifests
import msgspec
import numpy as np
import yaml
from bench.flash import ahead
from clients import CLIENTS, Clients, send
from figures import Figures
from manifests import NAME
from rich.console import Console
from rich.table import Table
from watch import Watch, balancer_cpu_s

from corefit.demo import stage
from corefit.demo.predictions import known_rows, load_requests
from corefit.demo.tools import Tools
from corefit.load import Recorder, Step, intended_times
from corefit.load.schedule import duration_s
from corefit.simulate.outcome import Outcome, Setting
from corefit.simulate.run import simulate
from corefit.simulate.service import Service as Simulated
from corefit.simulate.traces import Trace
from corefit_core.spec.decode import decode
from corefit_devcluster.api_proxy import api_proxy

ROOT: Final = Path(__file__).parents[2]
RESULTS: Final = ROOT / "bench/results/queue"
CLUSTER: Final = os.environ.get("COREFIT_TEST_CLUSTER", "queue")
NAMESPACE: Final = "queue"
IN: Final = ("--namespace", NAMESPACE)
STEPS: Final = (Step(rate=15, duration_s=15), Step(rate=60, duration_s=75))
QUICK: Final = (Step(rate=15, duration_s=5), Step(rate=40, duration_s=15))
BALANCINGS: Final = ("Direct", "Queue")
DEADLINE_S: Final = 240.0


class Trial(msgspec.Struct, frozen=True, kw_only=True):
    """What is kept of one.

    Attributes:
        service_s, spread_s: CPU of a request over the cores of a pod, and the standard deviation of its time.
        startup_s: of a pod, as the operator measured it.
    """

    clients: str
    balancing: str
    figures: Figures
    service_s: float
    spread_s: float
    startup_s: float


def main() -> int:
    """Measures, and writes what it found."""
    parser = argparse.ArgumentParser(description="blind clients before pods, with and without one queue")
    parser.add_argument("--only", nargs="+", choices=[c.key for c in CLIENTS], default=[c.key for c in CLIENTS])
    parser.add_argument("--balancing", nargs="+", choices=BALANCINGS, default=BALANCINGS)
    parser.add_argument("--quick", action="store_true", help="short, to see that it runs; results are not kept")
    parser.add_argument("--keep", action="store_true", help="leave the cluster")
    parser.add_argument("--again", action="store_true", help="only the table, from the results")
    arguments = parser.parse_args()
    if not arguments.again:
        _measured(arguments)
    if not arguments.quick:
        Console(width=170).print(_table(_kept()))
    return 0


def _measured(arguments: argparse.Namespace) -> None:
    tools = stage.environment(ROOT)
    try:
        tools = stage.bare(tools, CLUSTER, NAMESPACE)
        ahead.control_plane(CLUSTER, os.environ)
        for clients in CLIENTS:
            for balancing in arguments.balancing:
                if clients.key in arguments.only:
                    _trial(tools, clients, balancing, quick=arguments.quick)
    finally:
        if not arguments.keep:
            tools.run("corefit-devcluster", "down", "--name", CLUSTER)


def _trial(tools: Tools, clients: Clients, balancing: str, *, quick: bool) -> None:
    print(f"{clients.title}, {balancing}", file=sys.stderr, flush=True)
    _put_up(tools, balancing)
    with ahead.generator():
        trial = asyncio.run(_sent(tools, clients, balancing, QUICK if quick else STEPS))
    print(f"  {trial}", file=sys.stderr, flush=True)
    if not quick:
        RESULTS.mkdir(parents=True, exist_ok=True)
        path = RESULTS / f"{clients.key}-{balancing.lower()}.json"
        path.write_bytes(msgspec.json.format(msgspec.json.encode(trial)) + b"\n")


def _put_up(tools: Tools, balancing: str) -> None:
    """The service anew, with one pod, and what is in front of it."""
    tools.run("kubectl", "delete", "inferenceservice", NAME, *IN, "--ignore-not-found", "--wait=true")
    _until("the pods are gone", lambda: not _pods(tools))
    file = ROOT / ".demo/queue.yaml"
    file.parent.mkdir(exist_ok=True)
    file.write_text(yaml.safe_dump(manifests.service(_example(), balancing)))
    tools.run("kubectl", "apply", *IN, "-f", str(file))
    for condition in ("Ready", *(["BalancerReady"] if balancing == "Queue" else [])):
        tools.run("kubectl", "wait", f"--for=condition={condition}", f"cfis/{NAME}", *IN, "--timeout=240s")


def _example() -> Any:
    return yaml.safe_load((ROOT / "examples/load-model/inferenceservice.yaml").read_text())


def _pods(tools: Tools) -> list[Any]:
    found: list[Any] = tools.json("kubectl", "get", "pods", *IN, "--output", "json")["items"]
    return [pod for pod in found if not pod["metadata"]["name"].startswith("models")]


def _until(what: str, holds: Any) -> None:
    end = time.monotonic() + DEADLINE_S
    while not holds():
        if time.monotonic() > end:
            raise TimeoutError(f"not within {DEADLINE_S:.0f} s: {what}")
        time.sleep(0.5)


def _url(tools: Tools) -> str:
    found = tools.json("kubectl", "get", "service", NAME, *IN, "--output", "json")["spec"]
    return f"http://{found['clusterIP']}:{found['ports'][0]['port']}/v2/models/{NAME}/infer"


async def _sent(tools: Tools, clients: Clients, balancing: str, steps: Sequence[Step]) -> Trial:
    requests = load_requests(known_rows(ROOT / "examples/load-model/rows.json"))
    recorder, url = Recorder(), _url(tools)
    used_s = balancer_cpu_s(tools, NAMESPACE)
    with api_proxy(tools.environment) as address:
        watch = Watch(address, NAMESPACE)
        start = asyncio.get_running_loop().time() + 1.0
        watching = asyncio.create_task(watch.run(start))
        try:
            await send(clients, url, requests, list(intended_times(steps)), recorder=recorder, start=start)
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
    used_s = balancer_cpu_s(tools, NAMESPACE) - used_s
    found = figures.of(list(recorder), watch.looks, manifests.OBJECTIVE_MS / 1000, used_s)
    service_s, spread_s = _service(watch)
    startups = [report.startup_s for report in watch.reports.values() if report.startup_s]
    return Trial(
        clients=clients.key,
        balancing=balancing,
        figures=found,
        service_s=service_s,
        spread_s=spread_s,
        startup_s=statistics.median(startups) if startups else math.nan,
    )


def _service(watch: Watch) -> tuple[float, float]:
    """What a request takes a worker at the quota, and its spread: CPU over cores, as in bench/autoscale/reality.py."""
    pairs = [(watch.first[name].counters, last.counters) for name, last in watch.reports.items()]
    completed = sum(last.completed - first.completed for first, last in pairs)
    cpu_s = sum(last.cpu_seconds - first.cpu_seconds for first, last in pairs)
    variances = [each.service_time.variance_s2 for each in watch.reports.values()]
    spread_s = math.sqrt(statistics.mean(each for each in variances if each is not None))
    return cpu_s / completed / (manifests.MILLICORES / 1000), spread_s


def _kept() -> list[Trial]:
    order = {client.key: place for place, client in enumerate(CLIENTS)}
    found = [msgspec.json.decode(path.read_bytes(), type=Trial) for path in RESULTS.glob("*.json")]
    return sorted(found, key=lambda trial: (order[trial.clients], trial.balancing))


def _simulated(trials: Sequence[Trial]) -> Outcome:
    """The same arrivals before one queue, with what was measured of the pods under it."""
    measured = [trial for trial in trials if trial.balancing == "Queue"] or list(trials)
    policy = decode(manifests.service(_example(), "Queue")).policy
    service_s = statistics.median(trial.service_s for trial in measured)
    startup_s = statistics.median(trial.startup_s for trial in measured)
    simulated = Simulated(
        service_s=service_s,
        service_cv=min(1.0, statistics.median(trial.spread_s for trial in measured) / service_s),
        workers=policy.workers_per_pod,
        startup_s=startup_s,
        objective=policy.objective,
        balancing="central",
    )
    setting = Setting(
        service=simulated,
        policy=msgspec.structs.replace(policy, startup_s=startup_s),
        max_replicas=manifests.MOST,
    )
    return simulate("corefit", Trace("queue", np.array(list(intended_times(STEPS))), duration_s(STEPS)), setting)


def _table(trials: Sequence[Trial]) -> Table:
    table = Table(title="a step from 15 to 60 requests a second before 1 to 4 pods of 250m")
    columns = ("clients", "balancing", "in time %", "refused", "lost", "p50 ms", "p99 ms", "core-s", "of balancer")
    for heading in (*columns, "used", "pods", "shares of the last minute %", "shared after s"):
        table.add_column(heading, justify="right")
    titles = {client.key: client.title for client in CLIENTS}
    for trial in trials:
        table.add_row(titles[trial.clients], trial.balancing, *_cells(trial.figures))
    outcome = _simulated(trials)
    core_s = 3600 * outcome.core_hours * manifests.MILLICORES / 1000
    shed = f"{outcome.shed * trials[0].figures.sent:.0f}"
    row = (f"{100 * outcome.attainment:.2f}", shed, "0", "", "", f"{core_s:.0f}", "0", "", f"{max(outcome.replicas)}")
    table.add_row("simulator", "one queue", *row)
    return table


def _cells(found: Figures) -> tuple[str, ...]:
    return (
        f"{100 * found.attainment:.2f}",
        f"{found.refused}",
        f"{found.lost}",
        f"{found.p50_ms:.0f}",
        f"{found.p99_ms:.0f}",
        f"{found.core_seconds + found.balancer_core_seconds:.0f}",
        f"{found.balancer_core_seconds:.0f}",
        f"{found.balancer_cpu_s:.1f}",
        f"{found.most_pods}",
        " ".join(f"{100 * share:.0f}" for share in found.shares),
        "never" if found.shared_s is None else f"{found.shared_s:.1f}",
    )


if __name__ == "__main__":
    raise SystemExit(main())
