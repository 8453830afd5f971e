"""onnxruntime, and nothing else of the process knows it: sessions, their options, the model's signature.

A session's threads can't change while it lives, so a new plan means a new session. `run` releases the GIL and
may be called by many threads at once: W workers share one session and one copy of the weights.
"""

import contextlib
import logging
import os
import threading
from pathlib import Path
from typing import Any, Final

# Before the import: its telemetry thread would start with it.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

import onnxruntime as ort
from onnxruntime.capi.onnxruntime_pybind11_state import Fail, InvalidArgument, RuntimeException

from corefit_core.errors import InvalidInput, ModelInvalid, TooLarge
from corefit_core.memory import Shares
from corefit_runtime.engine import locales, refusals
from corefit_runtime.engine.types import Origin, Threads
from corefit_runtime.memory import container
from corefit_runtime.memory.outputs import OutputMemory
from corefit_runtime.tensors import datatypes
from corefit_runtime.tensors.tensor_spec import Tensors, TensorSpec

log: Final = logging.getLogger("onnxruntime")
WARNING: Final = 2
FATAL: Final = 4
"""onnxruntime's severities: 0 verbose, 1 info, 2 warning, 3 error, 4 fatal."""
LEVELS: Final = {0: logging.DEBUG, 1: logging.INFO, 2: logging.WARNING, 3: logging.ERROR, 4: logging.CRITICAL}
"""The same as ours."""

ONLY_TENSORS: Final = f"the protocol carries tensors of {', '.join(datatypes.NUMPY)} only"
NO_ZIPMAP: Final = "a scikit-learn classifier gives a tensor if it is converted with options={'zipmap': False}"
NOWHERE: Final = os.devnull
"""Where onnxruntime looks for the weights in other files (ONNX external data) of a model that it gets as bytes: on its
own it takes the working directory, and whoever writes a model could read the container's files. As this is no folder,
nobody can put a file into it. A model with such weights is opened by its path (`model_files`), and has its folder."""
_REGISTERING: Final = threading.Lock()
"""Of the allocator that onnxruntime keeps for the whole process: a session takes the one that is there when it is made,
and keeps it."""
AS_REQUESTED: Final = 1
"""How an arena grows: by what a run asks for. By powers of two, the other way, it is full when it is half used."""


class OnnxRuntimeEngine:
    """One loaded model: a session and its signature. Constructing it loads the file: do that off the loop.

    Args:
        origin: what sessions are made from: a file that nobody changes, or what sees to that.
        threads: how it computes.
        source: what people know the file by.
        trace: where the time of each operator is written to, its beginning; None: nowhere.
        shares: of the pod's memory; None: there is no limit.
        outputs: where large outputs are charged; None: to a new account of the size that `shares` says.

    Attributes:
        backend, platform: as Triton names them.
        base: bytes that the process took when the session had been made, before its first run.
        starved: whether a run has found no memory.
        inputs: what a run needs.
        optional: what a run may be given as well: initializers that inputs may override (ONNX IR, "Graphs").
        outputs: what a run gives, as far as tensors can carry it.
        notes: findings that a person should see, by a short key.

    Raises:
        ModelInvalid: onnxruntime refuses it, or the protocol can't carry what it takes, or anything of what it gives.
        ModelError: it can't be read any more, or is no longer what was loaded.
    """

    backend = "onnxruntime"
    platform = "onnxruntime_onnx"

    def __init__(
        self,
        origin: Path | Origin,
        threads: Threads,
        *,
        trace: Path | None = None,
        source: str = "",
        shares: Shares | None = None,
        outputs: OutputMemory | None = None,
    ) -> None:
        self.origin = origin
        self.shares = shares
        self.memory = outputs or OutputMemory(shares.outputs if shares is not None else None)
        self.starved = False
        self._source = source or origin.name
        self.threads = threads
        self.notes: dict[str, str] = {}
        self._session = self._loaded(_options(threads, trace))
        self.base = container.resident_memory()
        # Behind the wrapper's `run`, which checks again what the protocol has checked: 6 us, as much as a small model.
        self._run = self._session._sess.run  # noqa: SLF001 - see above
        self.inputs = tuple(map(_spec, self._session.get_inputs()))
        self.optional = tuple(_spec(node) for node in self._session.get_overridable_initializers() if _carried(node))
        self.outputs = tuple(_spec(node) for node in self._session.get_outputs() if _carried(node))
        self._leave_out([node for node in self._session.get_outputs() if not _carried(node)])
        self._names = [spec.name for spec in self.outputs]
        self._quiet = ort.RunOptions()
        self._quiet.log_severity_level = FATAL  # What an operator refuses is answered to its client, and no fault.
        self._shrinking = ort.RunOptions()
        self._shrinking.log_severity_level = FATAL
        self._shrinking.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")

    def _loaded(self, options: ort.SessionOptions) -> ort.InferenceSession:
        model = self.origin if isinstance(self.origin, Path) else self.origin.open()
        folder = os.fspath(model.parent) if isinstance(model, Path) else NOWHERE
        options.add_session_config_entry("session.model_external_initializers_file_folder_path", folder)
        while True:
            try:
                return _session(model, options, None if self.shares is None else self.shares.runs)
            except Exception as error:  # onnxruntime's own classes share no base below Exception
                locale = locales.missing(str(error))
                if not locale or "locale" in self.notes:
                    raise ModelInvalid(f"onnxruntime refuses {self._source}: {refusals.first_line(error)}") from error
                self.notes["locale"] = locales.provide(locale)

    def _leave_out(self, nodes: list[Any]) -> None:
        """Notes outputs that no tensor can carry, such as the maps that skl2onnx makes of class probabilities."""
        if nodes and not self.outputs:
            raise ModelInvalid(f"output {nodes[0].name!r} is {nodes[0].type}: {ONLY_TENSORS}; {NO_ZIPMAP}")
        if nodes:
            names = ", ".join(f"{node.name!r} ({node.type})" for node in nodes)
            self.notes["outputs"] = f"left out: {names}: {ONLY_TENSORS}; {NO_ZIPMAP}"

    def run(
        self, names: list[str] | None, feeds: Tensors, options: ort.RunOptions | None = None
    ) -> list[datatypes.Array]:
        """The named outputs (None: all of them) for these inputs.

        Raises:
            InvalidInput: onnxruntime, or an operator, finds the inputs unfit, such as sizes that don't go together.
            TooLarge: an operator finds no memory for what it makes of them.
        """
        try:
            outputs: list[datatypes.Array] = self._run(names or self._names, feeds, options or self._quiet)
        except InvalidArgument as error:
            raise self._unfit(refusals.first_line(error), feeds) from error
        except (Fail, RuntimeException) as error:
            if (text := refusals.of_operator(error)) is None:
                raise
            if refusals.lacked_memory(text):
                self.starved = self.memory.runs_lack = True
                raise TooLarge(refusals.needed(text, None if self.shares is None else self.shares.runs)) from error
            raise self._unfit(text, feeds) from error
        return outputs

    def run_afresh(self, names: list[str] | None, feeds: Tensors) -> list[datatypes.Array]:
        """As `run`, once the arena has let go of what is unused: it keeps a region for each size that it lacked.

        It does so at the end of a run, of one that finds no memory as well.
        """
        if self.shares is None:
            return self.run(names, feeds)
        with contextlib.suppress(TooLarge):
            return self.run(names, feeds, self._shrinking)
        return self.run(names, feeds)

    def _unfit(self, said: str, feeds: Tensors) -> InvalidInput:
        return InvalidInput(refusals.unfit(said, (*self.inputs, *self.optional), feeds))

    def trial(self, feeds: Tensors, limit_s: float) -> None:
        """Runs the model on inputs that may not suit it: whatever it does is an exception, and it has an end.

        Args:
            feeds: the inputs.
            limit_s: seconds after which the run is ended, between two operators.
        """
        options = ort.RunOptions()
        timer = threading.Timer(limit_s, setattr, (options, "terminate", True))
        timer.daemon = True
        timer.start()
        try:
            self._run(self._names, feeds, options)
        except (Fail, RuntimeException) as error:
            self.starved = self.starved or refusals.lacked_memory(str(error))
            raise
        finally:
            timer.cancel()

    def with_threads(self, threads: Threads) -> "OnnxRuntimeEngine":
        """The same model in a new session."""
        engine = OnnxRuntimeEngine(self.origin, threads, source=self._source, shares=self.shares, outputs=self.memory)
        engine.notes = {**self.notes, **engine.notes}
        return engine

    def traced(self, trace: Path) -> "OnnxRuntimeEngine":
        """The same model in a new session that writes down the time of each operator."""
        return OnnxRuntimeEngine(
            self.origin, self.threads, trace=trace, source=self._source, shares=self.shares, outputs=self.memory
        )

    def with_shares(self, shares: Shares) -> "OnnxRuntimeEngine":
        """The same model in a new session with other shares of the memory."""
        engine = OnnxRuntimeEngine(self.origin, self.threads, source=self._source, shares=shares)
        engine.notes = {**self.notes, **engine.notes}
        return engine

    def end_trace(self) -> bytes:
        """What was written down, in Chrome's trace format; of a `traced` engine, once."""
        written = Path(self._session.end_profiling())
        try:
            return written.read_bytes()
        finally:
            written.unlink()


def quiet() -> None:
    """Switches telemetry off and sends onnxruntime's warnings to our log."""
    ort.disable_telemetry_events()
    ort.set_default_logger_severity(WARNING)
    ort.set_default_logger_callback(_log, WARNING)


def _log(severity: int, category: str, logid: str, location: str, message: str) -> None:
    del logid
    level = LEVELS.get(severity, logging.WARNING)
    log.log(level, "%s (%s %s)", message.strip(), category, location)


def _options(threads: Threads, trace: Path | None) -> ort.SessionOptions:
    options = ort.SessionOptions()
    if trace is not None:
        options.enable_profiling = True
        options.profile_file_prefix = os.fspath(trace)
    options.intra_op_num_threads = threads.intra
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    spin = "1" if threads.spin else "0"
    options.add_session_config_entry("session.intra_op.allow_spinning", spin)
    options.add_session_config_entry("session.inter_op.allow_spinning", spin)
    options.log_severity_level = WARNING
    return options


def _session(model: Path | bytes, options: ort.SessionOptions, arena: int | None) -> ort.InferenceSession:
    """A session. Its runs share an arena of so many bytes, which does not hold its weights."""
    providers = ["CPUExecutionProvider"]
    if arena is None:
        return ort.InferenceSession(model, options, providers=providers)
    options.add_session_config_entry("session.use_env_allocators", "1")
    options.add_session_config_entry("session.use_device_allocator_for_initializers", "1")
    place = ort.OrtMemoryInfo("Cpu", ort.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, ort.OrtMemType.DEFAULT)
    with _REGISTERING:
        ort.create_and_register_allocator(
            place, ort.OrtArenaCfg({"max_mem": arena, "arena_extend_strategy": AS_REQUESTED})
        )
        return ort.InferenceSession(model, options, providers=providers)


def _carried(node: Any) -> bool:
    """Whether the protocol has tensors of this kind."""
    return node.type in datatypes.OF_ONNX


def _spec(node: Any) -> TensorSpec:
    if not _carried(node):
        raise ModelInvalid(f"input {node.name!r} is {node.type}: {ONLY_TENSORS}")
    datatype = datatypes.OF_ONNX[node.type]
    shape = tuple(d if isinstance(d, int) and d >= 0 else -1 for d in node.shape)
    leading = "" if not node.shape or isinstance(node.shape[0], int) else (node.shape[0] or "?")
    dimensions = tuple(d if isinstance(d, str) else "" for d in node.shape)
    return TensorSpec(name=node.name, datatype=datatype, shape=shape, leading=leading, dimensions=dimensions)
