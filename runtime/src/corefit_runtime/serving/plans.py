"""The plan for a grant, by what was measured; and what the queue goes by. Arithmetic only."""

import math
from collections.abc import Mapping

import msgspec

from corefit_core import batching, sizing
from corefit_core.batching import Line
from corefit_core.report import ServiceTime
from corefit_core.sizing import Grant, Objective, SizingPlan
from corefit_runtime.calibration.calibrate import Findings
from corefit_runtime.pool.limits import Limits
from corefit_runtime.settings.settings import Settings


def sized(settings: Settings, grant: Grant, findings: Findings) -> SizingPlan:
    """The sizing for a grant, with what was measured."""
    objective = Objective(percentile=settings.percentile, latency_s=settings.objective_s)
    return sizing.plan(grant, objective, findings.profile)


def on_threads(plan: SizingPlan, threads: int) -> SizingPlan:
    """The plan for a session that can't be exchanged: the same cores, on the threads that it has."""
    workers = max(1, plan.workers * plan.threads_per_worker // threads)
    kept = "one thread" if threads == 1 else f"{threads} threads"
    why = f"{plan.threads_why} But the session keeps {kept} a run: see the note 'session' of the report."
    return msgspec.structs.replace(plan, workers=workers, threads_per_worker=threads, threads_why=why)


def learned(findings: Findings, points: Mapping[int, float], row_elements: int, threads: int) -> Findings:
    """The findings with what requests took.

    Args:
        findings: without any service time.
        points: seconds by rows.
        row_elements: of all inputs of a row together.
        threads: that the runs were made on.
    """
    line = batching.fit(points.items())
    profile = (ServiceTime(threads=threads, rows=1, seconds=line.at(1)),)
    return msgspec.structs.replace(findings, line=line, profile=profile, row_elements=row_elements)


def limits_of(settings: Settings, plan: SizingPlan, findings: Findings) -> Limits:
    """What the queue goes by: chunk and batch sizes from the fit, or as the user says."""
    assumed = sizing.ASSUMED_SERVICE_SHARE * settings.objective_s
    line = findings.line or Line(a=assumed / 2, b=assumed / 2)
    target_s = settings.chunk_ms / 1000
    free = findings.rows_independent
    chunk = _rows(settings.chunk_rows, batching.chunk_rows(line, target_s)) if free else 0
    batch = _rows(settings.batch_rows, batching.batch_rows(line, settings.objective_s, target_s)) if free else 0
    one = line.at(1)
    # Joined requests leave the queue faster: as many more of them may wait for the same time.
    gain = one / line.per_row(batch) if batch else 1.0
    depth = min(sizing.MAX_QUEUE_DEPTH, math.floor(plan.queue_depth * max(1.0, gain)))
    return Limits(
        workers=plan.workers,
        depth=depth,
        objective_s=settings.objective_s,
        line=line,
        chunk=chunk,
        batch=batch,
        row_elements=findings.row_elements,
        target_s=target_s,
        assumed=findings.line is None,
        auto_chunk=free and settings.chunk_rows == "auto",
        auto_batch=free and settings.batch_rows == "auto",
    )


def _rows(setting: str | int, found: int) -> int:
    if isinstance(setting, int):
        return setting
    return found if setting == "auto" else 0
