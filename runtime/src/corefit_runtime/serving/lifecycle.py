"""Brings a model into service and keeps its plan fitting: load, warm up, calibrate, plan, re-plan, reload.

The loop's thread holds the state; whatever takes time runs in a thread. A new session is built and warmed aside
and then exchanged by one assignment: runs under way keep the old one until they end.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from corefit_core.errors import ModelError, ModelUnavailable
from corefit_core.report import PlanInForce
from corefit_core.sizing import Grant, SizingPlan
from corefit_runtime.calibration import calibrate
from corefit_runtime.calibration.calibrate import Findings
from corefit_runtime.engine.types import Engine, Threads
from corefit_runtime.memory import heap
from corefit_runtime.models import store
from corefit_runtime.pool.limits import Limits
from corefit_runtime.pool.model import Model
from corefit_runtime.pool.pool import Pool
from corefit_runtime.protocol.codec import Codec
from corefit_runtime.protocol.signature import Signature
from corefit_runtime.serving import loading
from corefit_runtime.serving.plans import learned, limits_of, on_threads, sized
from corefit_runtime.serving.readiness import Readiness
from corefit_runtime.serving.servable import Published, Servable
from corefit_runtime.settings.settings import Settings
from corefit_runtime.telemetry import failures

if TYPE_CHECKING:
    from corefit_runtime.tensors.tensor_spec import Tensors

log: Final = logging.getLogger(__name__)


MODEL_NOTES: Final = ("locale", "outputs")
"""What the engine may find of a model."""


class ModelLifecycle:
    """See the module.

    Args:
        settings: which model, and how it is served.
        published: what is in force; nobody else writes it.
        readiness: of the process.
        pool: what runs the model.
        doubt: why more may be granted than the plan goes by; empty when that is known.

    Attributes:
        grant: what the plan in force was made for; None before there is one.
        stamp: of the model's file when it was last tried (`store.stamp`).
        on_loaded: called when a model has been brought into service, before requests come to it.
    """

    def __init__(
        self, settings: Settings, published: Published, readiness: Readiness, pool: Pool, *, doubt: str = ""
    ) -> None:
        self._settings = settings
        self._published = published
        self._readiness = readiness
        self._doubt = doubt
        self._pool = pool
        self._findings = Findings()
        self._samples: Tensors | None = None
        self.grant: Grant | None = None
        self.stamp: store.Stamp = None
        self.on_loaded: Callable[[], None] = lambda: None
        self._changing = asyncio.Lock()
        self._tracing = asyncio.Lock()
        self._following: asyncio.Task[None] | None = None

    async def load(self, grant: Grant) -> None:
        """Fetches the model and brings it into service; again, to reload it.

        Raises:
            CorefitError: it can't be served, or not with this grant; a model that is served already stays.
        """
        settings, model = self._settings, self._model
        async with self._changing:
            self.stamp = store.stamp(settings.model)  # Before it is read: what is written meanwhile is a change.
            served = model.sha256 if model is not None else ""
            loaded = await asyncio.to_thread(loading.load, settings, grant, served)
            self._samples = loaded.samples
            loaded.model.on_contradiction = self._on_contradiction(loaded.model)
            await self._adopt(loaded.model, grant, loaded.findings)
            for key, text in loaded.notes.items():
                self._published.note(key, text)
        self.on_loaded()
        self._published.note("reload", "")
        self._readiness.became_ready()

    async def reload(self) -> str:
        """Loads the model anew; returns what went wrong, the old one then goes on serving; empty when all is well."""
        if self.grant is None:
            return "no model has been loaded yet"
        try:
            await self.load(self.grant)
        except Exception as error:  # noqa: BLE001 - whatever is wrong with the new one, the old one serves
            reason, message = failures.warned(log, "the new model is not taken, the old one goes on", error)
            self._published.note("reload", f"{reason}: {message}")
            return message
        log.info("the model was reloaded")
        return ""

    async def regrant(self, grant: Grant) -> bool:
        """Fits the plan to another grant of CPU. False: none fits, the one in force stays, and a note says why."""
        try:
            async with self._changing:
                if self._model is not None and grant != self.grant:
                    await self._adopt(self._model, grant, self._findings)
        except Exception as error:  # noqa: BLE001 - the plan in force goes on
            _, message = failures.warned(log, "the plan stays as it is", error)
            self._published.note("plan", message)
            return False
        self.plan_fits()
        return True

    def plan_fits(self) -> None:
        """The grant is again the one that the plan in force was made for."""
        self._published.note("plan", "")

    async def measure_threads(self) -> None:
        """Where no number of threads that was measured meets the objective, measures more, as far as the grant goes.

        Beside the requests, whose plan it then fits anew: a model that started on a quarter of a core and was grown to
        four would stay on one thread for ever.

        Raises:
            ModelError: the model's file was changed.
        """
        settings, model, grant = self._settings, self._model, self.grant
        if model is None or grant is None or not settings.calibrate:
            return
        cores = loading.cores(grant)
        if not calibrate.unmeasured(self._findings, cores, settings.objective_s):
            return
        findings = await asyncio.to_thread(loading.widened, settings, model, self._findings, self._samples, cores)
        async with self._changing:
            if model is self._model:
                await self._adopt(model, self.grant or grant, findings)

    async def learn(self) -> None:
        """Makes the plan by what requests took, where nothing could be measured before there were any."""
        model, grant = self._model, self.grant
        if model is None or grant is None or self._findings.line is not None:
            return
        points, elements = self._pool.observed()
        if not points:
            return
        async with self._changing:
            if model is self._model:
                findings = learned(self._findings, points, elements, model.engine.threads.intra)
                await self._adopt(model, self.grant or grant, findings)

    async def trace(self, seconds: float) -> bytes:
        """The time of each operator in the runs of the next seconds, in Chrome's trace format.

        By a session of its own that takes the other's place meanwhile; it needs the memory of a second model.

        Raises:
            ModelError: there is no model, a trace is being made already, or the model's file was changed.
        """
        model = self._model
        if model is None or self._tracing.locked():
            raise ModelUnavailable("no model is loaded yet" if model is None else "a trace is being made already")
        async with self._tracing:
            async with self._changing:
                plain = model.engine
                prefix = Path(self._settings.model_dir) / "trace"
                traced = await asyncio.to_thread(loading.traced, model, prefix, self._findings, self._samples)
                model.engine = traced
            try:
                await asyncio.sleep(seconds)
            finally:
                if model.engine is traced:  # Else a new plan has brought another session.
                    model.engine = plain
            return await asyncio.to_thread(traced.end_trace)

    async def _adopt(self, model: Model, grant: Grant, findings: Findings) -> None:
        """Makes the plan and what it needs; then all of it is in force at once, or, where something fails, nothing."""
        settings = self._settings
        plan = sized(settings, grant, findings)
        engine, wrong = await self._session(model, plan, findings)
        if wrong:
            plan = on_threads(plan, engine.threads.intra)
        if model.contradiction:
            findings = _without_rows(findings, model)
        limits = limits_of(settings, plan, findings)
        plan = msgspec.structs.replace(plan, queue_depth=limits.depth, batch_rows=limits.batch)
        model.engine = engine
        model.allow_sharing(findings.rows_independent)
        self._pool.apply(limits)
        self.grant, self._findings = grant, findings
        self._publish(model, grant, plan, limits)
        self._published.note("session", wrong)
        # What calibration, an earlier model or an earlier plan has left.
        await asyncio.to_thread(heap.give_back)

    def _on_contradiction(self, model: Model) -> Callable[[str], None]:
        """What a worker's thread calls when an answer has shown that rows are not independent."""
        loop = asyncio.get_running_loop()

        def begin() -> None:
            self._following = loop.create_task(self._contradicted(model))  # The loop keeps weak references only.

        def later(_: str) -> None:
            # A drain that has ended needs no note.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(begin)

        return later

    async def _contradicted(self, model: Model) -> None:
        log.error("requests run one by one from now on, and those that ran together run again: %s", model.contradiction)
        async with self._changing:
            if model is self._model and self.grant is not None:
                await self._adopt(model, self.grant, self._findings)
                cores = loading.cores(self.grant)
                await asyncio.to_thread(loading.keep, self._settings, model, self._findings, cores)

    async def _session(self, model: Model, plan: SizingPlan, findings: Findings) -> tuple[Engine, str]:
        """The session for a plan; the one there is, with the reason, where the model's file is gone or another."""
        threads = Threads(intra=plan.threads_per_worker)
        if threads == model.engine.threads:
            return model.engine, ""
        try:
            return await asyncio.to_thread(loading.rethreaded, model, threads, findings, self._samples), ""
        except ModelError as error:
            _, message = failures.warned(log, "the session keeps its threads", error)
            return model.engine, message

    @property
    def _model(self) -> Model | None:
        servable = self._published.servable
        return servable.model if servable is not None else None

    def _publish(self, model: Model, grant: Grant, plan: SizingPlan, limits: Limits) -> None:
        findings, published = self._findings, self._published
        why = f"{plan.why} But all CPUs of the node may be used: {self._doubt}." if self._doubt else plan.why
        in_force = PlanInForce(
            grant_millicores=grant.millicores,
            workers=plan.workers,
            threads_per_worker=plan.threads_per_worker,
            queue_depth=plan.queue_depth,
            chunk_rows=limits.chunk,
            batch_rows=limits.batch,
            why=why,
        )
        codec = _codec(self._settings, model)
        published.publish(Servable(model=model, codec=codec, plan=in_force, profile=findings.profile))
        for key in MODEL_NOTES:
            published.note(key, model.engine.notes.get(key, ""))
        published.note("rows", findings.why)
        log.info(
            "plan: %d workers of %d threads, queue %d, chunk %d, batch %d. %s Rows: %s",
            plan.workers,
            plan.threads_per_worker,
            plan.queue_depth,
            limits.chunk,
            limits.batch,
            why,
            findings.why,
        )


def _codec(settings: Settings, model: Model) -> Codec:
    return Codec(
        model.name,
        model.version,
        Signature.of(model.engine),
        max_tensors=settings.max_tensors,
        max_depth=settings.max_json_depth,
        strings=model.strings,
    )


def _without_rows(findings: Findings, model: Model) -> Findings:
    why = f"requests run one by one, since an answer depended on its batch: {model.contradiction}"
    return msgspec.structs.replace(findings, rows_independent=False, why=why)
