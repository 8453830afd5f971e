"""What a model takes and gives, and what a request may want of it. Knows no messages."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from corefit_runtime.tensors.tensor_spec import TensorSpec


class Interface(Protocol):
    """What a loaded model says of itself."""

    @property
    def backend(self) -> str:
        """The engine that runs it."""

    @property
    def platform(self) -> str:
        """That engine and the model's format."""

    @property
    def inputs(self) -> Sequence[TensorSpec]:
        """What it needs."""

    @property
    def optional(self) -> Sequence[TensorSpec]:
        """What it may be given as well."""

    @property
    def outputs(self) -> Sequence[TensorSpec]:
        """What it gives."""

    @property
    def notes(self) -> Mapping[str, str]:
        """What a person should know of it, by a short key."""


class Wanted(NamedTuple):
    """One output of a response.

    Attributes:
        binary: whether it comes as binary data.
        classes: how many of its highest values are wanted instead of itself (`classification`); 0: itself.
        datatype: of what is sent.
    """

    spec: TensorSpec
    binary: bool
    classes: int
    datatype: str


class Answer(NamedTuple):
    """The outputs of a response.

    Attributes:
        outputs: in the order of the response.
        all_binary: whether all come as binary data of a size that their shapes tell.
        classified: whether any comes as classes.
    """

    outputs: list[Wanted]
    names: list[str]
    all_binary: bool
    classified: bool

    @classmethod
    def of(cls, outputs: list[Wanted]) -> "Answer":
        """That of these outputs."""
        return cls(
            outputs=outputs,
            names=[output.spec.name for output in outputs],
            all_binary=all(output.binary and output.datatype != "BYTES" for output in outputs),
            classified=any(output.classes for output in outputs),
        )


@dataclass(frozen=True, slots=True)
class Signature:
    """What the model takes and gives, by name.

    Attributes:
        inputs: what a request has to give.
        outputs: what it may ask for.
        optional: what it may give as well.
        left_out: why outputs of the model aren't there; empty where all are.
        backend, platform: the engine, and the engine with the model's format, as Triton names them.
    """

    inputs: dict[str, TensorSpec]
    outputs: dict[str, TensorSpec]
    optional: dict[str, TensorSpec] = field(default_factory=dict)
    left_out: str = ""
    backend: str = ""
    platform: str = ""
    _all: dict[bool, Answer] = field(init=False)

    def __post_init__(self) -> None:
        answers = {
            binary: Answer.of([Wanted(spec, binary, 0, spec.datatype) for spec in self.outputs.values()])
            for binary in (False, True)
        }
        object.__setattr__(self, "_all", answers)

    def everything(self, *, binary: bool) -> Answer:
        """All outputs, worked out once: most requests name none."""
        return self._all[binary]

    @classmethod
    def of(cls, model: Interface) -> "Signature":
        """That of a loaded model."""
        inputs, outputs, optional = (
            {spec.name: spec for spec in specs} for specs in (model.inputs, model.outputs, model.optional)
        )
        return cls(inputs, outputs, optional, model.notes.get("outputs", ""), model.backend, model.platform)
