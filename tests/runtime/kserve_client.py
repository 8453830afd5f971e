"""KServe's client against a runtime whose model gives back a tensor of each datatype: `kserve_client.py URL`.

A program for an environment with `kserve`, apart from ours. Prints which datatypes came back as they were, by form.
"""

import asyncio
import json
import sys
from typing import Any

import numpy as np
from kserve import InferenceRESTClient, InferInput, InferRequest, RESTConfig
from kserve.constants.constants import PredictorProtocol

KINDS = {
    "BOOL": np.bool_,
    "UINT8": np.uint8,
    "UINT16": np.uint16,
    "UINT32": np.uint32,
    "UINT64": np.uint64,
    "INT8": np.int8,
    "INT16": np.int16,
    "INT32": np.int32,
    "INT64": np.int64,
    "FP16": np.float16,
    "FP32": np.float32,
    "FP64": np.float64,
    "BYTES": np.object_,
}


def values(datatype: str) -> "np.ndarray[Any, Any]":
    """Two rows of three, the ends of the datatype's range among them where JSON holds them."""
    kind = KINDS[datatype]
    if datatype == "BYTES":
        return np.array([["", "ж", "a,b"], ['"', "\\", "long" * 100]], object)
    if datatype == "BOOL":
        return np.array([[True, False, True], [False, False, True]])
    if np.issubdtype(kind, np.floating):
        most = np.finfo(kind).max
        return np.array([[0, -0.5, most], [-most, 1, 2]], kind)
    ends = np.iinfo(kind)
    return np.array([[0, 1, 2], [ends.min, ends.max, 7]], kind)


def same(datatype: str, found: "np.ndarray[Any, Any]") -> bool:
    """Whether what came back is what was sent."""
    texts = [[v.decode() if isinstance(v, bytes) else v for v in row] for row in found.tolist()]
    return texts == values(datatype).tolist()


async def main(url: str) -> None:
    """Asks in both forms."""
    client = InferenceRESTClient(RESTConfig(protocol=PredictorProtocol.REST_V2, timeout=300))
    assert await client.is_server_live(url)
    assert await client.is_server_ready(url)
    assert await client.is_model_ready(url, "m")
    found: dict[str, list[str]] = {}
    for form in ("binary", "json"):
        inputs = []
        for name in KINDS:
            array = values(name)
            made = InferInput(f"x_{name}", list(array.shape), name)
            # The client itself has no JSON for FP16.
            made.set_data_from_numpy(array, binary_data=form == "binary" or name == "FP16")
            inputs.append(made)
        request = InferRequest("m", inputs, parameters={"binary_data_output": form == "binary"})
        answer = await client.infer(url, request, model_name="m")
        outputs = {output.name: output.as_numpy() for output in answer.outputs}
        found[form] = sorted(name for name in KINDS if same(name, outputs[f"y_{name}"]))
    print(json.dumps(found))


asyncio.run(main(sys.argv[1]))
