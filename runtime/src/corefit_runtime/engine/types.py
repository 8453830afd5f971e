"""The interface of an inference engine. A second engine of ONNX files is a module that has it.

Knows no engine.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from corefit_core.memory import Shares
from corefit_runtime.memory.outputs import OutputMemory
from corefit_runtime.tensors.datatypes import Array
from corefit_runtime.tensors.tensor_spec import Tensors, TensorSpec


@dataclass(frozen=True, kw_only=True)
class Threads:
    """How one session computes.

    Attributes:
        intra: threads of one run.
        spin: whether idle intra-op threads poll for work instead of sleeping. Off unless whole cores are granted
            to them alone: they would burn the quota that the next run needs (docs/decisions/0012).
    """

    intra: int = 1
    spin: bool = False


class Origin(Protocol):
    """What sessions of one model are made from, again and again."""

    @property
    def name(self) -> str:
        """The model's file, as messages name it."""

    def open(self) -> Path | bytes:
        """The model: a file, or what is in it. Raises a ModelError when it is no longer what was loaded."""


class Engine(Protocol):
    """One loaded model: a session and its signature.

    Attributes:
        backend: the engine's name, as Triton names its backends.
        platform: the engine and the format, as Triton names its platforms.
        threads: how it computes.
        shares: of the pod's memory; None: there is no limit.
        memory: of large outputs.
        base: bytes that the process took when the session had been made, before its first run.
        starved: whether a run has found no memory.
        inputs: what a run needs.
        optional: what a run may be given as well.
        outputs: what a run gives.
        notes: findings that a person should see, by a short key.
    """

    backend: str
    platform: str
    threads: Threads
    shares: Shares | None
    memory: OutputMemory
    base: int
    starved: bool
    inputs: tuple[TensorSpec, ...]
    optional: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    notes: dict[str, str]

    def run(self, names: list[str] | None, feeds: Tensors) -> list[Array]:
        """The named outputs (None: all of them) for these inputs; many threads may call it at once.

        They may lie in the memory of runs: `memory.kept` gives others.

        Raises:
            InvalidInput: the model can't take these inputs.
            TooLarge: there is no memory for what it makes of them.
        """

    def run_afresh(self, names: list[str] | None, feeds: Tensors) -> list[Array]:
        """As `run`, once the memory that earlier runs have left in pieces is whole again: after a `TooLarge`."""

    def trial(self, feeds: Tensors, limit_s: float) -> None:
        """Runs the model on inputs that may not suit it: whatever it does is an exception, and it has an end."""

    def with_threads(self, threads: Threads) -> "Engine":
        """The same model in a new session."""

    def with_shares(self, shares: Shares) -> "Engine":
        """The same model in a new session with other shares of the memory."""

    def traced(self, trace: Path) -> "Engine":
        """The same model in a new session that writes down the time of each operator."""

    def end_trace(self) -> bytes:
        """What was written down, in Chrome's trace format; of a `traced` engine, once."""
