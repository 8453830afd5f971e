"""The OpenAPI description (3.1) of the inference port, for the loaded model: its inputs, datatypes and names."""

import math
from typing import Any, Final

import msgspec

from corefit_runtime.protocol.forms import MAX_DIMENSION, MAX_ID, MAX_RANK
from corefit_runtime.protocol.signature import Signature
from corefit_runtime.tensors.datatypes import NUMPY
from corefit_runtime.tensors.tensor_spec import TensorSpec

ERRORS: Final = {
    "400": "The request is not one that the model takes; the message says what to change.",
    "404": "No such model, version or path.",
    "408": "The request did not come in time.",
    "413": "The request is larger than the runtime takes, or needs more memory than there is.",
    "500": "The model failed.",
    "501": "A transfer coding other than chunked.",
    "503": "Not now: the model is not loaded, or the queue is full. Retry-After says when to come back.",
    "504": "The deadline of the request passed before a worker was free.",
}

MAX_EXAMPLE: Final = 1024
"""Elements of an input up to which the description has an example."""

_JSON_TYPES: Final = {"f": "number", "i": "integer", "u": "integer", "b": "boolean", "O": "string"}
_ENCODER: Final = msgspec.json.Encoder()
Schema = dict[str, Any]


def description(name: str, version: str, software: str, signature: Signature | None) -> bytes:
    """The OpenAPI description of the inference port; of any model while none is loaded."""
    base, versioned = "/v2/models/{model}", "/v2/models/{model}/versions/{version}"
    model = {"name": "model", "in": "path", "required": True, "schema": {"type": "string", "enum": [name]}}
    number = {"name": "version", "in": "path", "required": True, "schema": {"type": "string", "enum": [version]}}
    paths = {
        "/v2": _page("server", "Name, version and extensions of the server", {"200": "Server"}),
        "/v2/health/live": _page("live", "Whether the process lives", {"200": "Live"}),
        "/v2/health/ready": _page("ready", "Whether requests should come here", {"200": "Ready", "503": "Ready"}),
        "/openapi.json": _page("description", "This description", {"200": "Document"}),
    }
    for start, suffix, parameters in ((base, "", [model]), (versioned, "OfVersion", [model, number])):
        of_model = {
            "": _page(f"metadata{suffix}", "Inputs and outputs of the model", {"200": "Metadata", "503": "Error"}),
            "/ready": _page(f"modelReady{suffix}", "Whether the model serves", {"200": "Ready", "503": "Ready"}),
            "/config": _page(f"config{suffix}", "The model as Triton describes it", {"200": "Object", "503": "Error"}),
            "/infer": {"post": _infer(f"infer{suffix}")},
        }
        for end, operations in of_model.items():
            for operation in operations.values():
                operation["responses"].setdefault("404", _answer("Error", ERRORS["404"]))
            paths[start + end] = {"parameters": parameters, **operations}
    return _ENCODER.encode(
        {
            "openapi": "3.1.0",
            "info": {
                "title": "Corefit runtime",
                "version": software,
                "description": "The Open Inference Protocol v2 over HTTP, with binary tensor data.",
            },
            "paths": paths,
            "components": {"schemas": _schemas(signature)},
        }
    )


def _page(identity: str, summary: str, answers: dict[str, str]) -> dict[str, Any]:
    responses = {status: _answer(schema, summary) for status, schema in answers.items()}
    return {"get": {"operationId": identity, "summary": summary, "responses": responses}}


def _answer(schema: str, description: str) -> dict[str, Any]:
    return {"description": description, "content": _content(schema)}


def _content(schema: str) -> dict[str, Any]:
    return {"application/json": {"schema": {"$ref": f"#/components/schemas/{schema}"}}}


def _infer(identity: str) -> dict[str, Any]:
    octets = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}
    answer = _answer("InferenceResponse", "The outputs; as binary data where the request wants them so.")
    answer["content"].update(octets)
    length = {
        "name": "Inference-Header-Content-Length",
        "in": "header",
        "description": "Bytes of the JSON part of a body whose other bytes are binary tensor data.",
        "schema": {"type": "integer", "minimum": 0},
    }
    timeout = {
        "name": "Corefit-Timeout-Ms",
        "in": "header",
        "description": "Milliseconds after which nobody waits for the answer.",
        "schema": {"type": "integer", "minimum": 0, "maximum": 10**12 - 1},
    }
    return {
        "operationId": identity,
        "summary": "One inference",
        "parameters": [length, timeout],
        "requestBody": {"required": True, "content": {**_content("InferenceRequest"), **octets}},
        "responses": {"200": answer, **{status: _answer("Error", text) for status, text in ERRORS.items()}},
    }


def _schemas(signature: Signature | None) -> dict[str, Schema]:
    boolean, string = {"type": "boolean"}, {"type": "string"}
    shape = {"type": "array", "items": {"type": "integer", "minimum": -1}}
    described = _object({"name": string, "datatype": {"enum": list(NUMPY)}, "shape": shape})
    output = _object(
        {
            "name": string,
            "datatype": {"enum": list(NUMPY)},
            "shape": shape,
            "data": {"type": "array"},
            "parameters": {"type": "object"},
        },
        optional=("data", "parameters"),
    )
    return {
        "Error": _object({"error": string}),
        "Live": _object({"live": boolean}),
        "Ready": _object({"ready": boolean, "name": string}, optional=("name",)),
        "Server": _object({"name": string, "version": string, "extensions": _list(string)}),
        "Object": {"type": "object"},
        "Document": _object({"openapi": string, "info": {"type": "object"}, "paths": {"type": "object"}}),
        "Metadata": _object(
            {
                "name": string,
                "versions": _list(string),
                "platform": string,
                "inputs": _list(described),
                "outputs": _list(described),
            }
        ),
        "InferenceRequest": _request(signature),
        "InferenceResponse": _object(
            {"model_name": string, "model_version": string, "id": string, "outputs": _list(output)}, optional=("id",)
        ),
    }


def _object(properties: dict[str, Schema], optional: tuple[str, ...] = ()) -> Schema:
    return {
        "type": "object",
        "properties": properties,
        "required": [name for name in properties if name not in optional],
    }


def _list(items: Schema) -> Schema:
    return {"type": "array", "items": items}


def _request(signature: Signature | None) -> Schema:
    parameters = {"type": ["object", "null"], "additionalProperties": {"type": ["boolean", "number", "string", "null"]}}
    name: Schema = {"type": "string"}
    tensor: Schema = _tensor(name, {"enum": list(NUMPY)}, MAX_RANK, parameters, {"type": "array"})
    if signature is not None:
        name = {"enum": list(signature.outputs)}
        specs = (*signature.inputs.values(), *signature.optional.values())
        tensor = {"anyOf": [_input(spec, parameters) for spec in specs]}
    wish = _object({"name": name, "parameters": parameters}, optional=("parameters",))
    outputs = {"type": ["array", "null"], "items": wish}
    identity = {"type": ["string", "null"], "maxLength": MAX_ID}
    request = _object(
        {"id": identity, "parameters": parameters, "inputs": _list(tensor), "outputs": outputs},
        optional=("id", "parameters", "outputs"),
    )
    return {**request, "examples": _examples(signature)} if signature is not None else request


def _examples(signature: Signature) -> list[dict[str, Any]]:
    """A request that the model takes, one row of zeros; none where that is a long list."""
    tensors = []
    for spec in signature.inputs.values():
        shape = [1 if size < 0 else size for size in spec.shape]
        zero = {"O": "", "b": False}.get(NUMPY[spec.datatype].kind, 0)
        data = [zero] * math.prod(shape)
        if len(data) > MAX_EXAMPLE:
            return []
        tensors.append({"name": spec.name, "datatype": spec.datatype, "shape": shape, "data": data})
    return [{"inputs": tensors}]


def _input(spec: TensorSpec, parameters: Schema) -> Schema:
    kind = {"type": _JSON_TYPES[NUMPY[spec.datatype].kind]}
    element = {"anyOf": [kind, {"enum": ["Infinity", "-Infinity", "NaN"]}]} if kind["type"] == "number" else kind
    data = {"type": ["array", "null"], "items": {"anyOf": [element, {"type": "array"}]}}
    return _tensor({"const": spec.name}, {"const": spec.datatype}, len(spec.shape), parameters, data)


def _tensor(name: Schema, datatype: Schema, rank: int, parameters: Schema, data: Schema) -> Schema:
    size = {"type": "integer", "minimum": 0, "maximum": MAX_DIMENSION}
    shape = {"type": "array", "items": size, "maxItems": rank}
    properties = {"name": name, "datatype": datatype, "shape": shape, "parameters": parameters, "data": data}
    return _object(properties, optional=("parameters", "data"))
