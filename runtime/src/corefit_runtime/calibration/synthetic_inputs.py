"""Inputs that are made up for a model, to run it before anybody has asked it anything. The same ones each time."""

import math
from collections.abc import Iterable, Mapping
from typing import Any, Final

import numpy as np

from corefit_runtime.tensors.datatypes import NUMPY, Array
from corefit_runtime.tensors.tensor_spec import TensorSpec

SEED: Final = 20250607
SIZES: Final = (2, 0, 3, 1)
"""The rows of an uneven batch by size: neither up nor down, else what each row takes from those before hides in it."""
FLOATS_GROW: Final = 8.0
NUMBERS_GROW: Final = 4
"""By how much a row is larger than the next in size."""
SHORT_OF_MOST: Final = 4
"""So much less than its type holds is the most of an integer: steps of 1/255 of 255, a byte's most, round nothing."""


def elements(specs: Iterable[TensorSpec], rows: int, free_size: int) -> int:
    """How many all inputs of that size have together."""
    return sum(math.prod(_shape(spec, rows, free_size)) for spec in specs)


def made_up(specs: Iterable[TensorSpec], rows: int, free_size: int) -> dict[str, Array]:
    """Inputs of `rows` rows, alike in size. Integers are 0 and 1: safest as indices into something of unknown size."""
    random = np.random.default_rng(SEED)
    return {spec.name: _even(random, spec, _shape(spec, rows, free_size)) for spec in specs}


def uneven(specs: Iterable[TensorSpec], free_size: int, *, numbers: bool) -> dict[str, Array]:
    """Inputs of rows of very different size (`SIZES`): floats, and with `numbers` integers and strings as well."""
    random, rows = np.random.default_rng(SEED), len(SIZES)
    feeds = {}
    for spec in specs:
        shape = _shape(spec, rows, free_size)
        even, kind = _even(random, spec, shape), NUMPY[spec.datatype].kind
        if kind == "f":
            feeds[spec.name] = (even * _by_row(FLOATS_GROW ** np.array(SIZES), shape)).astype(even.dtype)
        elif numbers and kind in "iuO":
            feeds[spec.name] = _numbers(random, shape, even.dtype)
        else:
            feeds[spec.name] = even
    return feeds


class Inputs:
    """What a model is run on before anybody has asked it anything: samples that the user gives, or what is made up.

    Args:
        specs: of the model's inputs.
        free_size: what stands for free dimensions.
        samples: by the inputs' names; None for made-up ones.
    """

    def __init__(self, specs: Iterable[TensorSpec], free_size: int, samples: Mapping[str, Array] | None = None) -> None:
        self._specs = tuple(specs)
        self._free_size = free_size
        self._samples = samples

    def of(self, rows: int) -> dict[str, Array]:
        """Inputs of so many rows: of samples theirs, over and over, and those that have no rows as they are."""
        if self._samples is None:
            return made_up(self._specs, rows, self._free_size)
        free = {spec.name for spec in self._specs if spec.shape[:1] == (-1,)}
        return {
            name: array[np.arange(rows) % len(array)] if name in free and len(array) else array
            for name, array in self._samples.items()
        }

    def elements(self, rows: int) -> int:
        """How many all of them have together."""
        if self._samples is None:
            return elements(self._specs, rows, self._free_size)
        return sum(array.size for array in self.of(1).values()) * rows


def _shape(spec: TensorSpec, rows: int, free_size: int) -> tuple[int, ...]:
    return tuple(rows if i == 0 and d < 0 else free_size if d < 0 else d for i, d in enumerate(spec.shape))


def _even(random: np.random.Generator, spec: TensorSpec, shape: tuple[int, ...]) -> Array:
    dtype = NUMPY[spec.datatype]
    if dtype.kind == "f":
        return random.standard_normal(shape, np.float32).astype(dtype)
    if dtype.kind == "O":
        return np.full(shape, "0", np.object_)
    return random.integers(0, 2, shape).astype(dtype)


def _numbers(random: np.random.Generator, shape: tuple[int, ...], dtype: "np.dtype[Any]") -> Array:
    """Up to 4, 16, 64 or 256, as far as the type goes; a row begins with its most, so that none is all zero."""
    most = NUMBERS_GROW ** (1 + np.array(SIZES))
    if dtype.kind != "O":
        most = np.minimum(most, min(most.max(), int(np.iinfo(dtype).max) - SHORT_OF_MOST))
    values = random.integers(0, _by_row(most, shape) + 1, shape)
    values.reshape(shape[0], -1)[:, :1] = most[:, np.newaxis]
    return values.astype(str).astype(np.object_) if dtype.kind == "O" else values.astype(dtype)


def _by_row(values: Array, shape: tuple[int, ...]) -> Array:
    return values.reshape(-1, *(1,) * (len(shape) - 1))


def special(specs: Iterable[TensorSpec], free_size: int, changed: Iterable[str]) -> dict[str, Array]:
    """Rows that filters react to, between ordinary ones: of zeros or empty strings, and of NaN or of the ordinary.

    Zeros are padding, an empty mask and a false condition.

    Args:
        specs: the inputs.
        free_size: what stands for free dimensions.
        changed: the inputs that have such rows; the others are ordinary.
    """
    feeds, names = made_up(specs, len(SIZES), free_size), set(changed)
    for name in names & feeds.keys():
        array = feeds[name]
        array[0] = "" if array.dtype.kind == "O" else 0
        if array.dtype.kind == "f":
            array[2] = np.nan
        elif array.dtype.kind in "biu":
            array[1:2] = array[3:4] = 1
    return feeds
