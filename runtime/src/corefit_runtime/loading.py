"""What takes time on the way of a model into service: fetch, load, warm up, measure, build another session.

Blocking: for a thread of its own. Holds no state; what is in force is `serving`'s.
"""

import gc
import logging
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from corefit_core.errors import ChecksumMismatch, ModelUnavailable
from corefit_core.report import ServiceTime
from corefit_core.sizing import Grant
from corefit_runtime import calibrate, profiles, store
from corefit_runtime.calibrate import Findings
from corefit_runtime.engine import Engine, Threads
from corefit_runtime.jobs import Model
from corefit_runtime.probes import made_up
from corefit_runtime.settings import Settings

log: Final = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """A model that is warm, with what was found about it."""

    model: Model
    findings: Findings


def load(settings: Settings, grant: Grant) -> Loaded:
    """Fetches, loads, warms up and measures.

    Raises:
        ModelError: it can't be served.
    """
    stored = store.fetch(settings.model, settings.model_sha256, Path(settings.model_dir), access=settings.access)
    engine = Engine(stored.path, Threads(), source=settings.model)
    first = calibrate.warm_up(engine)
    findings = _measured(settings, engine, first, stored.sha256, cores(grant))
    model = Model(engine, name=settings.name, version=settings.model_version, sha256=stored.sha256)
    if gc.get_freeze_count() == 0:
        # The objects of the libraries stay for ever: 20 ms of collector in which the loop would stand, each time.
        gc.collect()
        gc.freeze()
    return Loaded(model=model, findings=findings)


def cores(grant: Grant) -> int:
    """Threads that a run may get: whole cores, at least one."""
    return max(1, grant.millicores // 1000)


def widened(settings: Settings, model: Model, findings: Findings, cores: int) -> Findings:
    """The findings, and the service times on more threads than they know; kept for the next start with so many cores.

    Raises:
        ModelError: as `rethreaded`.
    """
    found = calibrate.widened(findings, _unchanged(model).with_threads, cores, settings.calibrate_seconds)
    _tell(found.profile[len(findings.profile) :])
    profiles.save(Path(settings.model_dir), model.sha256, cores, found)
    return found


def rethreaded(model: Model, threads: Threads, findings: Findings) -> Engine:
    """The model in a session of other threads, warm.

    Raises:
        ModelError: its file is no longer what was loaded.
    """
    return _warmed(_unchanged(model).with_threads(threads), findings)


def traced(model: Model, prefix: Path, findings: Findings) -> Engine:
    """The model in a session that writes down the time of each operator, warm.

    Raises:
        ModelError: as `rethreaded`.
    """
    prefix.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    return _warmed(_unchanged(model).traced(prefix), findings)


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
    _tell(findings.profile)
    if findings.line is not None:
        profiles.save(folder, sha256, cores, findings)
    return findings


def _tell(points: Iterable[ServiceTime]) -> None:
    for point in points:
        log.info("calibration: %d rows on %d threads: %.3f ms", point.rows, point.threads, 1000 * point.seconds)


def _unchanged(model: Model) -> Engine:
    """Its engine, of which another can be made, if the file is still the one that was checked."""
    path = model.engine.path
    try:
        found = store.digest(path)
    except OSError as error:
        raise ModelUnavailable(f"{path.name} can't be read any more: {error.strerror or error}") from error
    if found != model.sha256:
        raise ChecksumMismatch(f"{path.name} was changed since it was loaded: reload it, or bring the old file back")
    return model.engine


def _warmed(engine: Engine, findings: Findings) -> Engine:
    if findings.line is not None:
        engine.run(None, made_up(engine.inputs, 1, findings.free_size))
    return engine
