"""What takes time on the way of a model into service: fetch, load, warm up, measure, build another session.

Blocking: for a thread of its own. Holds no state; what is in force is `lifecycle`'s.
"""

import gc
import logging
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import msgspec

from corefit_core.errors import ChecksumMismatch, InvalidInput
from corefit_core.memory import shares
from corefit_core.report import ServiceTime
from corefit_core.sizing import Grant
from corefit_runtime.calibration import calibrate, profiles
from corefit_runtime.calibration.calibrate import Findings
from corefit_runtime.calibration.synthetic_inputs import Inputs
from corefit_runtime.engine import registry
from corefit_runtime.engine.types import Engine, Threads
from corefit_runtime.memory import container
from corefit_runtime.models import model_files, store
from corefit_runtime.models.model_files import ModelFiles
from corefit_runtime.pool.model import Model
from corefit_runtime.protocol import codec, forms
from corefit_runtime.protocol.signature import Signature
from corefit_runtime.rows import analysis, strings
from corefit_runtime.rows.analysis import Proof
from corefit_runtime.settings.settings import Settings
from corefit_runtime.tensors.tensor_spec import Tensors

log: Final = logging.getLogger(__name__)
SLACK: Final = 1.25
"""A session that leaves up to a fifth less memory than the size of its files suggests is not made again."""


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """A model that is warm, with what was found about it.

    Attributes:
        samples: inputs that the user gave.
        notes: what a person should see, by a short key; empty where there is nothing.
    """

    model: Model
    findings: Findings
    samples: Tensors | None
    notes: dict[str, str]


def load(settings: Settings, grant: Grant, served: str = "") -> Loaded:
    """Fetches, loads, warms up and measures.

    Args:
        settings: which model.
        grant: of CPU.
        served: checksum of the model that is served meanwhile; empty for none.

    Raises:
        ModelError: it can't be served.
    """
    files = _files(settings)
    if files.unpinned and served not in {"", files.sha256}:
        raise ChecksumMismatch(f"the model's weights changed under a pinned checksum, and {files.unpinned}")
    limit = settings.memory_limit
    engine: Engine = _engine(files, settings, limit)
    proof = analysis.analyse(files.graph, engine.inputs, engine.outputs)
    made = strings.analyse(files.graph, (*engine.inputs, *engine.optional), engine.outputs)
    if limit is None:
        made = replace(made, repeated=False)
    samples, unfit = _samples(settings, engine)
    if limit is not None and made.repeated:
        engine = engine.with_shares(shares(limit, engine.base, repeated_strings=True))
    first = calibrate.warm_up(engine, samples, made_up=settings.warm_up)
    if limit is not None and not made.repeated and first.line is None and engine.starved:
        engine = engine.with_shares(shares(limit, engine.base, large_rows=True))
        first = calibrate.warm_up(engine, samples, made_up=settings.warm_up)
    findings = _measured(settings, engine, first, files.sha256, cores(grant), proof, samples)
    # What a request gives instead of a weight may be a size.
    bounded = proof.bounded and not engine.optional
    model = Model(
        engine,
        name=settings.name,
        version=settings.model_version,
        sha256=files.sha256,
        bounded=bounded,
        strings=made,
    )
    notes = {"checksum": files.unpinned, "calibration": unfit}
    if gc.get_freeze_count() == 0:
        # The objects of the libraries stay for ever: 20 ms of collector in which the loop would stand, each time.
        gc.collect()
        gc.freeze()
    return Loaded(model=model, findings=findings, samples=samples, notes=notes)


def _engine(files: ModelFiles, settings: Settings, limit: int | None) -> Engine:
    """A session whose runs have their share of the memory: by the size of the files, then by what the session takes."""
    if limit is None:
        return registry.load(files, Threads(), source=settings.model)
    guessed = shares(limit, container.resident_memory() + files.size)
    engine = registry.load(files, Threads(), source=settings.model, shares=guessed)
    measured = shares(limit, engine.base)
    return engine if guessed.runs <= SLACK * measured.runs else engine.with_shares(measured)


def _files(settings: Settings) -> ModelFiles:
    """The model's files, fetched where they are elsewhere."""
    folder, path = Path(settings.model_dir), store.local(settings.model)
    if path is None:
        path = store.fetch(settings.model, settings.model_sha256, folder, access=settings.access).path
    return model_files.take(path, settings.model, settings.model_sha256, folder, strict=settings.strict_checksum)


def _samples(settings: Settings, engine: Engine) -> tuple[Tensors | None, str]:
    """The sample inputs that the user gave, and what is wrong with them."""
    if not settings.calibration_inputs:
        return None, ""
    body = memoryview(f'{{"inputs": {settings.calibration_inputs}}}'.encode())
    signature = Signature.of(engine)
    try:
        form = forms.read(body, signature, max_tensors=settings.max_tensors, max_depth=settings.max_json_depth)
        return codec.feeds(form, body, None), ""
    except InvalidInput as error:
        log.warning("the sample inputs are not used: %s", error)
        return None, f"the sample inputs are not used: {error}"


def cores(grant: Grant) -> int:
    """Threads that a run may get: whole cores, at least one."""
    return max(1, grant.millicores // 1000)


def widened(settings: Settings, model: Model, findings: Findings, samples: Tensors | None, cores: int) -> Findings:
    """The findings, and the service times on more threads than they know; kept for the next start with so many cores.

    Raises:
        ModelError: the model's file is no longer what was loaded.
    """
    inputs = Inputs(model.engine.inputs, findings.free_size, samples)
    found = calibrate.widened(findings, model.engine.with_threads, inputs, cores, settings.calibrate_seconds)
    _tell(found.profile[len(findings.profile) :])
    keep(settings, model, found, cores)
    return found


def rethreaded(model: Model, threads: Threads, findings: Findings, samples: Tensors | None) -> Engine:
    """The model in a session of other threads, warm.

    Raises:
        ModelError: as `widened`.
    """
    return _warmed(model.engine.with_threads(threads), findings, samples)


def traced(model: Model, prefix: Path, findings: Findings, samples: Tensors | None) -> Engine:
    """The model in a session that writes down the time of each operator, warm.

    Raises:
        ModelError: as `widened`.
    """
    prefix.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    return _warmed(model.engine.traced(prefix), findings, samples)


def keep(settings: Settings, model: Model, findings: Findings, cores: int) -> None:
    """Keeps what was found for the next start with this model, these samples and so many cores."""
    profiles.save(Path(settings.model_dir), _key(settings, model.sha256), cores, findings)


def _key(settings: Settings, sha256: str) -> str:
    """What the findings are of: another model, or other samples, are measured anew."""
    return f"{sha256} {settings.calibration_inputs} {settings.assume_rows_independent}"


def _measured(  # noqa: PLR0917 - what is known so far
    settings: Settings,
    engine: Engine,
    first: Findings,
    sha256: str,
    cores: int,
    proof: Proof,
    samples: Tensors | None,
) -> Findings:
    if not settings.calibrate:
        return first
    folder, key = Path(settings.model_dir), _key(settings, sha256)
    unproved = "" if settings.assume_rows_independent else proof.why
    kept = profiles.load(folder, key, cores)
    if kept is not None:
        log.info("calibration: taken from an earlier start with this model and CPU")
        return _as_proved(kept, unproved)
    findings = calibrate.calibrate(
        engine,
        first,
        cores,
        settings.calibrate_seconds,
        settings.chunk_ms / 1000,
        unproved=unproved,
        samples=samples,
    )
    _tell(findings.profile)
    if findings.line is not None:
        profiles.save(folder, key, cores, findings)
    return findings


def _as_proved(kept: Findings, unproved: str) -> Findings:
    """Findings of an earlier start, as far as this start's proof goes: whoever writes to the folder wrote them."""
    return msgspec.structs.replace(kept, rows_independent=False, why=unproved) if unproved else kept


def _tell(points: Iterable[ServiceTime]) -> None:
    for point in points:
        log.info("calibration: %d rows on %d threads: %.3f ms", point.rows, point.threads, 1000 * point.seconds)


def _warmed(engine: Engine, findings: Findings, samples: Tensors | None) -> Engine:
    if findings.line is not None:
        try:
            engine.run(None, Inputs(engine.inputs, findings.free_size, samples).of(1))
        except Exception as error:  # noqa: BLE001 - the first request finds it cold, no more
            log.info("the new session is not warm: %s", error)
    return engine
