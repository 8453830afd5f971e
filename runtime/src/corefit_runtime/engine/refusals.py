"""What onnxruntime says when it refuses a run, in words for the client. Imports no engine. Pure."""

import re
from collections.abc import Iterable
from typing import Final

from corefit_core.figures import figure
from corefit_runtime.tensors.tensor_spec import Tensors, TensorSpec

_NO_MEMORY: Final = re.compile(r"[Ff]ailed to allocate memory|bad_alloc|Available memory of \d+ is smaller than")
_OVER_ARENA: Final = re.compile(r"Available memory of (\d+) is smaller than requested bytes of (\d+)")
_SAID: Final = {"stod": "a string is not a number", "stoll": "a string is not an integer"}
"""What the C++ library says of a string that it can't convert, in words."""
MIB: Final = 1 << 20


def first_line(error: BaseException) -> str:
    """The beginning of what an error says."""
    return str(error).strip().splitlines()[0][:500] if str(error).strip() else type(error).__name__


def of_operator(error: Exception) -> str | None:
    """What an operator says of the inputs that it got; None for an error of another kind."""
    _, mark, text = first_line(error).partition("Non-zero status code returned while running ")
    if not mark:
        return None
    node, _, said = text.partition(". Name:")
    said = said.partition("Status Message: ")[2]
    return f"{node}: {_SAID.get(said, said)}"


def lacked_memory(text: str) -> bool:
    """Whether this says that there was no memory."""
    return _NO_MEMORY.search(text) is not None


def needed(text: str, runs: int | None) -> str:
    """What a run that found no memory needed, and what to do about it.

    Args:
        text: what the operator said.
        runs: bytes that there are for runs; None: there is no limit.
    """
    mends = "send fewer rows or a smaller input, or give the pod more memory (resources.memory, --memory)"
    found = _OVER_ARENA.search(text)
    if found is None or runs is None:
        return f"the model needs more memory for this input than there is: {mends}. It says: {text}"
    left, wanted = (figure(int(number) / MIB) for number in found.groups())
    return (
        f"the model's operator {text.partition(' node')[0]} needs {wanted} MiB for this input, and of the "
        f"{figure(runs / MIB)} MiB for runs of the model {left} MiB are free: {mends}"
    )


def unfit(said: str, specs: Iterable[TensorSpec], feeds: Tensors) -> str:
    """That inputs don't suit the model, and which break what it declares, where one does."""
    return f"the model can't take this input: {said}{_broken_dimension(specs, feeds)}"


def _broken_dimension(specs: Iterable[TensorSpec], feeds: Tensors) -> str:
    """A dimension of one name that has two sizes; empty where there is none."""
    sizes: dict[str, tuple[str, int]] = {}
    for spec in specs:
        given = feeds[spec.name].shape if spec.name in feeds else ()
        for name, size in zip(spec.dimensions, given, strict=False):
            other, known = sizes.setdefault(name, (spec.name, size)) if name else (spec.name, size)
            if known != size:
                return f" (dimension {name!r} is {known} in input {other!r} and {size} in {spec.name!r})"
    return ""
