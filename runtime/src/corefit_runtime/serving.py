"""Brings a model into service and keeps its plan fitting: load, warm up, calibrate, plan, re-plan, reload.

The loop's thread holds the state; whatever takes time runs in a thread. A new session is built and warmed aside
and then exchanged by one assignment: runs under way keep the old one until they end.
"""

import asyncio
import gc
import logging
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from corefit_core import batching, sizing
from corefit_core.batching import Line
from corefit_core.errors import ModelError, ModelUnavailable
from corefit_core.report import PlanInForce
from corefit_core.sizing import Grant, Objective, SizingPlan
from corefit_runtime import calibrate, heap, profiles, store
from corefit_runtime.calibrate import Findings
from corefit_runtime.engine import Engine, Threads
from corefit_runtime.forms import Signature
from corefit_runtime.jobs import Model
from corefit_runtime.pool import Pool
from corefit_runtime.protocol import Codec
from corefit_runtime.schedule import Limits
from corefit_runtime.service import Service
from corefit_runtime.settings import Settings

log: Final = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """A model that is warm, with what was found about it."""

    model: Model
    findings: Findings


class Serving:
    """See the module.

    Args:
        service: the state that is kept.
        pool: what runs the model.
    """

    def __init__(self, service: Service, pool: Pool) -> None:
        self._service = service
        self._pool = pool
        self._findings = Findings()
        self._grant: Grant | None = None
        self._changing = asyncio.Lock()
        self._tracing = asyncio.Lock()

    async def load(self, grant: Grant) -> None:
        """Fetches the model and brings it into service; again, to reload it.

        Raises:
            ModelError: it can't be served; a model that is served already stays.
        """
        async with self._changing:
            loaded = await asyncio.to_thread(_load, self._service.settings, grant)
            self._grant, self._findings = grant, loaded.findings
            await self._adopt(loaded.model, grant)
        self._service.notes.pop("reload", None)
        self._service.became_ready()

    async def reload(self) -> str:
        """Loads the model anew; returns what went wrong, the old one then goes on serving; empty when all is well."""
        if self._grant is None:
            return "no model has been loaded yet"
        try:
            await self.load(self._grant)
        except ModelError as error:
            log.warning("the new model is not taken, the old one goes on: %s", error)
            self._service.notes["reload"] = f"{error.reason}: {error}"
            return str(error)
        log.info("the model was reloaded")
        return ""

    async def regrant(self, grant: Grant) -> None:
        """Fits the plan to another grant of CPU."""
        async with self._changing:
            model = self._service.model
            if model is None or grant == self._grant:
                return
            self._grant = grant
            await self._adopt(model, grant)

    async def trace(self, seconds: float) -> bytes:
        """The time of each operator in the runs of the next seconds, in Chrome's trace format.

        By a session of its own that takes the other's place meanwhile; it needs the memory of a second model.

        Raises:
            ModelError: there is no model, or a trace is being made already.
        """
        model = self._service.model
        if model is None or self._tracing.locked():
            raise ModelUnavailable("no model is loaded yet" if model is None else "a trace is being made already")
        async with self._tracing:
            async with self._changing:
                plain = model.engine
                prefix = Path(self._service.settings.model_dir) / "trace"
                traced = await asyncio.to_thread(_traced, plain, prefix, self._findings)
                model.engine = traced
            try:
                await asyncio.sleep(seconds)
            finally:
                if model.engine is traced:  # Else a new plan has brought another session.
                    model.engine = plain
            return await asyncio.to_thread(traced.end_trace)

    async def _adopt(self, model: Model, grant: Grant) -> None:
        settings, findings = self._service.settings, self._findings
        plan = sized(settings, grant, findings)
        model.rows_independent = findings.rows_independent
        limits = limits_of(settings, plan, findings)
        model.rows_independent = model.rows_independent or insisted(settings)
        threads = Threads(intra=plan.threads_per_worker)
        if threads != model.engine.threads:
            model.engine = await asyncio.to_thread(_rethreaded, model.engine, threads, findings)
        self._pool.apply(limits)
        self._publish(model, grant, plan, limits)
        # What calibration, an earlier model or an earlier plan has left.
        await asyncio.to_thread(heap.give_back)

    def _publish(self, model: Model, grant: Grant, plan: SizingPlan, limits: Limits) -> None:
        service, findings = self._service, self._findings
        service.model = model
        service.codec = _codec(service.settings, model)
        service.profile = findings.profile
        service.plan = PlanInForce(
            grant_millicores=grant.millicores,
            workers=plan.workers,
            threads_per_worker=plan.threads_per_worker,
            queue_depth=limits.depth,
            chunk_rows=limits.chunk,
            batch_rows=limits.batch,
            why=plan.why,
        )
        service.notes["rows"] = findings.why
        log.info(
            "plan: %d workers of %d threads, queue %d, chunk %d, batch %d; %s; rows: %s",
            plan.workers,
            plan.threads_per_worker,
            limits.depth,
            limits.chunk,
            limits.batch,
            plan.why,
            findings.why,
        )


def _codec(settings: Settings, model: Model) -> Codec:
    inputs, outputs = ({spec.name: spec for spec in specs} for specs in (model.engine.inputs, model.engine.outputs))
    return Codec(
        model.name,
        model.version,
        Signature(inputs, outputs),
        max_tensors=settings.max_tensors,
        max_depth=settings.max_json_depth,
    )


def sized(settings: Settings, grant: Grant, findings: Findings) -> SizingPlan:
    """The sizing for a grant, with what was measured."""
    objective = Objective(percentile=settings.percentile, latency_s=settings.objective_s)
    return sizing.plan(grant, objective, findings.profile)


def insisted(settings: Settings) -> bool:
    """Whether the user overrides the check of row independence."""
    return isinstance(settings.chunk_rows, int) or isinstance(settings.batch_rows, int)


def limits_of(settings: Settings, plan: SizingPlan, findings: Findings) -> Limits:
    """What the queue goes by: chunk and batch sizes from the fit, or as the user says."""
    assumed = sizing.ASSUMED_SERVICE_SHARE * settings.objective_s
    line = findings.line or Line(a=assumed / 2, b=assumed / 2)
    target_s = settings.chunk_ms / 1000
    free = findings.rows_independent
    chunk = _rows(settings.chunk_rows, batching.chunk_rows(line, target_s) if free else 0)
    batch = _rows(settings.batch_rows, batching.batch_rows(line, settings.objective_s, target_s) if free else 0)
    one = line.at(1)
    # Joined requests leave the queue faster: as many more of them may wait for the same time.
    gain = one / line.per_row(batch) if batch else 1.0
    depth = min(sizing.MAX_QUEUE_DEPTH, math.floor(plan.queue_depth * max(1.0, gain)))
    return Limits(
        workers=plan.workers, depth=depth, objective_s=settings.objective_s, line=line, chunk=chunk, batch=batch
    )


def _rows(setting: str | int, found: int) -> int:
    if isinstance(setting, int):
        return setting
    return found if setting == "auto" else 0


def _load(settings: Settings, grant: Grant) -> Loaded:
    """Fetches, loads, warms up and measures. Blocking."""
    stored = store.fetch(settings.model, settings.model_sha256, Path(settings.model_dir), access=settings.access)
    engine = Engine(stored.path, Threads())
    first = calibrate.warm_up(engine)
    findings = _measured(settings, engine, first, stored.sha256, max(1, grant.millicores // 1000))
    model = Model(engine, name=settings.name, version=settings.model_version, sha256=stored.sha256)
    if gc.get_freeze_count() == 0:
        # The objects of the libraries stay for ever: 20 ms of collector in which the loop would stand, each time.
        gc.collect()
        gc.freeze()
    return Loaded(model=model, findings=findings)


def _measured(settings: Settings, engine: Engine, first: Findings, sha256: str, cores: int) -> Findings:
    if not settings.calibrate:
        return first
    folder = Path(settings.model_dir)
    kept = profiles.load(folder, sha256, cores)
    if kept is not None:
        log.info("calibration: taken from an earlier start with this model and CPU")
        return kept
    target_s = settings.chunk_ms / 1000
    findings = calibrate.calibrate(engine, first, cores, settings.calibrate_seconds, target_s)
    for point in findings.profile:
        log.info("calibration: %d rows on %d threads: %.3f ms", point.rows, point.threads, 1000 * point.seconds)
    if findings.line is not None:
        profiles.save(folder, sha256, cores, findings)
    return findings


def _traced(engine: Engine, prefix: Path, findings: Findings) -> Engine:
    prefix.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    return _warmed(engine.traced(prefix), findings)


def _rethreaded(engine: Engine, threads: Threads, findings: Findings) -> Engine:
    return _warmed(engine.with_threads(threads), findings)


def _warmed(engine: Engine, findings: Findings) -> Engine:
    if findings.line is not None:
        engine.run(None, calibrate.made_up(engine.inputs, 1, findings.free_size))
    return engine
