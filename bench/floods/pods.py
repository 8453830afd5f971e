"""Rounds of reports where some pods answer without end: how long one takes, and what of a core the operator burns.

    python bench/floods/pods.py

No cluster: pods are loopback addresses of a process of its own, what is measured is the operator's own collector.
"""

import asyncio
import multiprocessing
import resource
import statistics
import time
from contextlib import suppress

import uvloop

from corefit_core import report
from corefit_core.naming import PORT_ADMIN
from corefit_core.report import ModelIdentity, PlanInForce, Report
from corefit_operator.collect import collector
from corefit_operator.collect.report_client import ReportClient
from corefit_operator.kube.pods import Pod, decode_pod

ROUND_S = 2.0
ROUNDS = 6
FLOODS = {
    "headers": (b"HTTP/1.1 200 OK\r\n", b"X: y\r\n" * 10_000),
    "chunk extensions": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;", b"x=y;" * 15_000),
}
"""How an answer begins, and what then comes without end."""
CASES = (
    (100, 0, "headers"),
    (99, 1, "headers"),
    (99, 1, "chunk extensions"),
    (20, 0, "headers"),
    (20, 150, "headers"),
    (20, 150, "chunk extensions"),
)
"""Honest pods, pods that flood, and with what."""


def _address(number: int) -> str:
    return f"127.9.{number // 250}.{number % 250 + 1}"


def _report(number: int) -> bytes:
    plan = PlanInForce(grant_millicores=1000, workers=1, threads_per_worker=1, queue_depth=4)
    model = ModelIdentity(name="m")
    return report.encode(
        Report(pod_uid=str(number), boot_id="b", state="Ready", model=model, plan=plan, clock_s=time.monotonic())
    )


async def _serve(
    honest: int, floods: int, flood: tuple[bytes, bytes], ready: "multiprocessing.synchronize.Event"
) -> None:
    async def answer(number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                await reader.readuntil(b"\r\n\r\n")
                if number < honest:
                    body = _report(number)
                    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
                    continue
                begin, more = flood
                writer.write(begin)
                while True:
                    writer.write(more)
                    await writer.drain()
        writer.close()

    for number in range(honest + floods):
        await asyncio.start_server(lambda r, w, n=number: answer(n, r, w), _address(number), PORT_ADMIN)
    ready.set()
    await asyncio.Event().wait()


def _pods(count: int) -> list[Pod]:
    return [
        decode_pod({"metadata": {"name": str(n), "namespace": "n", "uid": str(n)}, "status": {"podIP": _address(n)}})
        for n in range(count)
    ]


async def _measure(honest: int, floods: int) -> tuple[list[float], float]:
    """Seconds until each round has all honest reports, those of the floods asked for alongside; share of a core."""
    took: list[float] = []
    async with ReportClient(report.MAX_BYTES, time.monotonic) as client:
        asking = collector.Collector(collector.direct(client), lambda _: None)
        pods = _pods(honest + floods)
        good, bad = pods[:honest], pods[honest:]
        began, used = time.monotonic(), resource.getrusage(resource.RUSAGE_SELF)
        for _ in range(ROUNDS):
            at = time.monotonic()
            others = asyncio.create_task(asking.collect(bad))
            found = await asking.collect(good)
            took.append(time.monotonic() - at)
            if len(found) != honest:
                took[-1] = float("inf")  # some were missing from the round
            await others
            await asyncio.sleep(max(0.0, at + ROUND_S - time.monotonic()))
        now = resource.getrusage(resource.RUSAGE_SELF)
        cpu = now.ru_utime + now.ru_stime - used.ru_utime - used.ru_stime
        return took, cpu / (time.monotonic() - began)


def main() -> None:
    """Prints one line a case."""
    for honest, floods, kind in CASES:
        ready = multiprocessing.get_context("spawn").Event()
        arguments = (honest, floods, FLOODS[kind], ready)
        server = multiprocessing.get_context("spawn").Process(target=_run, args=arguments, daemon=True)
        server.start()
        ready.wait()
        took, share = uvloop.run(_measure(honest, floods))
        server.kill()
        server.join()
        what = f"{floods} with endless {kind}" if floods else "none that flood"
        median, most = statistics.median(took), max(took)
        print(
            f"{honest} honest pods, {what}: round {median:.3f} s, {most:.3f} at most, {share:.0%} of a core", flush=True
        )


def _run(honest: int, floods: int, flood: tuple[bytes, bytes], ready: "multiprocessing.synchronize.Event") -> None:
    asyncio.run(_serve(honest, floods, flood, ready))


if __name__ == "__main__":
    main()
