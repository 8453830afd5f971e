"""What a model takes or gives under one name: its datatype and its shape."""

from collections.abc import Mapping
from dataclasses import dataclass

from corefit_runtime.tensors import datatypes

Tensors = Mapping[str, datatypes.Array]


@dataclass(frozen=True, kw_only=True)
class TensorSpec:
    """One input or output: its protocol datatype, and its shape with -1 where any size goes.

    Attributes:
        dimensions: the model's names of the dimensions that any size goes for; empty for the others.
    """

    name: str
    datatype: str
    shape: tuple[int, ...]
    leading: str = ""
    dimensions: tuple[str, ...] = ()

    @property
    def numpy(self) -> datatypes.DType:
        """The numpy type that an engine takes and gives."""
        return datatypes.NUMPY[self.datatype]
