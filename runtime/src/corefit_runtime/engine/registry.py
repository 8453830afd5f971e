"""The inference engines that the runtime has, and which of them loads a model: the only module that knows them."""

from corefit_core.memory import Shares
from corefit_runtime.engine import onnxruntime
from corefit_runtime.engine.types import Engine, Origin, Threads


def load(origin: Origin, threads: Threads, *, source: str, shares: Shares | None = None) -> Engine:
    """Loads a model: reads the file and makes a session. Blocking.

    Args:
        origin: what sessions are made from.
        threads: how the first session computes.
        source: what people know the model by.
        shares: of the pod's memory; None: there is no limit.

    Raises:
        ModelError: the engine refuses the model, or its files can't be read.
    """
    return onnxruntime.OnnxRuntimeEngine(origin, threads, source=source, shares=shares)


def prepare() -> None:
    """What the engines need once in a process, before the first model is loaded."""
    onnxruntime.quiet()
