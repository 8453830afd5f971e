"""The part of the InferenceService that says how a model is measured before it serves. May not decide anything."""

import math
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

from corefit_core.api.part import Part
from corefit_core.errors import InvalidInput

MAX_JSON: Final = 32_768
"""Bytes of all sample inputs as JSON: they reach the runtime in an environment variable, of which one may have 128 KiB
(execve(2), MAX_ARG_STRLEN), and are held in each pod's manifest."""
Datatype = Literal[
    "BOOL", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64", "FP16", "FP32", "FP64", "BYTES"
]


class SampleInput(Part, frozen=True, kw_only=True):
    """An input as the Open Inference Protocol writes it in JSON."""

    name: Annotated[str, Meta(description="The name of the input in the model.", min_length=1, max_length=253)]
    datatype: Annotated[Datatype, Meta(description="The datatype, in the terms of the protocol.")]
    shape: Annotated[
        tuple[Annotated[int, Meta(ge=0, le=4096)], ...],
        Meta(description="The shape. The first dimension is the number of rows.", max_length=16),
    ]
    data: Annotated[
        tuple[Any, ...],
        Meta(
            description="The elements in row-major order, in one flat list.",
            max_length=4096,
            extra_json_schema={"items": {"x-kubernetes-preserve-unknown-fields": True}},
        ),
    ]


class Calibration(Part, frozen=True, kw_only=True):
    """How the runtime measures the model when it starts."""

    mode: Annotated[
        Literal["Auto", "Off"],
        Meta(
            description="Auto: the runtime runs the model on inputs when it starts, or on random inputs where there "
            "are none, and measures it. Off: the runtime runs no inputs of its own. It then batches and splits no "
            "requests and learns from the first requests how long a run takes."
        ),
    ] = "Auto"
    inputs: Annotated[
        tuple[SampleInput, ...],
        Meta(
            description="Sample inputs, one for each input of the model. One row is enough. Without them the runtime "
            "makes up random inputs.",
            max_length=16,
        ),
    ] = ()


def encoded(calibration: Calibration) -> str:
    """The sample inputs as JSON for the runtime; empty when there are none.

    Raises:
        InvalidInput: they are too large, or a shape has another number of elements than there are.
    """
    if not calibration.inputs:
        return ""
    for each in calibration.inputs:
        count = math.prod(each.shape)
        if count != len(each.data):
            raise InvalidInput(
                f"spec.calibration.inputs: the shape {list(each.shape)} of {each.name} has {count} elements, and data "
                f"has {len(each.data)}"
            )
    # Kubernetes would replace "$(NAME)" in a variable.
    text = msgspec.json.encode(calibration.inputs).replace(b"$", b"\\u0024")
    if len(text) > MAX_JSON:
        raise InvalidInput(
            f"spec.calibration.inputs: they take {len(text)} bytes as JSON, of at most {MAX_JSON}. Give fewer rows"
        )
    return text.decode()
