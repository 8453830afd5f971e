"""What the server says of its model and of itself: metadata, and the model configuration as Triton has it.

The configuration has the fields of Triton's ModelConfig (model_config.proto) that mean something here.
"""

from collections.abc import Iterable
from typing import Any, Final

import msgspec

from corefit_runtime.protocol.signature import Signature
from corefit_runtime.tensors.tensor_spec import TensorSpec

EXTENSIONS: Final = ("binary_tensor_data", "classification", "model_configuration")
_ENCODER: Final = msgspec.json.Encoder()


def server(version: str) -> bytes:
    """The answer to GET v2."""
    return _ENCODER.encode({"name": "corefit", "version": version, "extensions": EXTENSIONS})


def metadata(name: str, version: str, signature: Signature) -> bytes:
    """The answer to GET v2/models/NAME."""
    inputs = [*signature.inputs.values(), *signature.optional.values()]
    described = {
        part: [{"name": s.name, "datatype": s.datatype, "shape": s.shape} for s in specs]
        for part, specs in (("inputs", inputs), ("outputs", signature.outputs.values()))
    }
    return _ENCODER.encode({"name": name, "versions": [version], "platform": signature.platform, **described})


def configuration(name: str, version: str, signature: Signature) -> bytes:
    """The answer to GET v2/models/NAME/config. `max_batch_size` is 0: `dims` are whole shapes, the leading one too."""
    inputs = _configured(signature.inputs.values()) + [
        {**tensor, "optional": True} for tensor in _configured(signature.optional.values())
    ]
    return _ENCODER.encode(
        {
            "name": name,
            "platform": signature.platform,
            "backend": signature.backend,
            "version_policy": {"specific": {"versions": [int(version) if version.isdecimal() else version]}},
            "max_batch_size": 0,
            "input": inputs,
            "output": _configured(signature.outputs.values()),
            "instance_group": [{"name": name, "kind": "KIND_CPU"}],
        }
    )


def _configured(specs: Iterable[TensorSpec]) -> list[dict[str, Any]]:
    return [
        {
            "name": spec.name,
            "data_type": "TYPE_STRING" if spec.datatype == "BYTES" else f"TYPE_{spec.datatype}",
            "dims": spec.shape,
        }
        for spec in specs
    ]
