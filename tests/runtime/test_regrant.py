"""The plan follows the CPU that is granted while requests go on."""

import asyncio
import os
import threading
from pathlib import Path
from typing import Any

import numpy as np

from corefit_core.batching import Line
from corefit_core.report import ServiceTime
from corefit_core.sizing import Grant
from corefit_runtime.calibration.calibrate import Findings
from corefit_runtime.pool.limits import Limits
from corefit_runtime.pool.pool import Pool
from corefit_runtime.serving.lifecycle import ModelLifecycle
from corefit_runtime.serving.readiness import Readiness
from corefit_runtime.serving.servable import Published
from corefit_runtime.settings.settings import load
from corefit_runtime.telemetry.meter import Meter

ROW = [1.0, 2.0, 3.0, 4.0]


def test_a_smaller_affinity_mask_gives_fewer_workers_and_loses_no_request(start: Any, negate: str) -> None:
    runtime = start("--no-calibrate", model=negate)
    cpus = os.sched_getaffinity(runtime.process.pid)
    failed: list[int] = []
    stop = threading.Event()

    def load_on() -> None:
        while not stop.is_set():
            status, _, _ = runtime.infer([ROW])
            if status != 200:
                failed.append(status)

    thread = threading.Thread(target=load_on)
    thread.start()
    try:
        assert runtime.report()["plan"]["workers"] == len(cpus)
        os.sched_setaffinity(runtime.process.pid, {min(cpus)})
        runtime.wait(lambda: runtime.report()["plan"]["workers"] == 1, "re-planned")
        os.sched_setaffinity(runtime.process.pid, cpus)
        runtime.wait(lambda: runtime.report()["plan"]["workers"] == len(cpus), "re-planned")
    finally:
        stop.set()
        thread.join()
    assert failed == []


async def test_another_thread_count_exchanges_the_session(negate: str, tmp_path: Path) -> None:
    published, lifecycle, pool = made(negate, tmp_path)
    await lifecycle.load(Grant(cpus=1))
    assert published.servable is not None
    first = published.servable.model.engine
    # As if it had been measured: one thread misses the objective of 100 ms, two keep it.
    times = tuple(ServiceTime(threads=t, rows=1, seconds=s) for t, s in ((1, 0.15), (2, 0.08)))
    lifecycle._findings = Findings(profile=times, line=Line(a=0.05, b=0.1))
    assert await lifecycle.regrant(Grant(cpus=2))
    assert published.servable.plan.threads_per_worker == 2
    second = published.servable.model.engine
    assert second is not first
    x = np.ones((1, 4), np.float32)
    assert np.array_equal(second.run(None, {"x": x})[0], -x)
    assert np.array_equal(first.run(None, {"x": x})[0], -x)  # Runs under way keep theirs.
    await pool.close()


def made(model: str, folder: Path) -> tuple[Published, ModelLifecycle, Pool]:
    settings = load(["--model", model, "--no-calibrate", "--model-dir", str(folder)], {})
    published = Published()
    nothing = Limits(workers=1, depth=1, objective_s=1, line=Line(a=1, b=1), chunk=0, batch=0)
    pool = Pool(asyncio.get_running_loop(), Meter(), nothing)
    return published, ModelLifecycle(settings, published, Readiness(), pool), pool
