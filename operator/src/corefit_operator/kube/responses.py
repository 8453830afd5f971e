"""Answers of the API server: how much of one is read, and what it is decoded to. May not send anything."""

from typing import Any, Final

import msgspec
from kubernetes.aio.client.rest import RESTResponse

from corefit_operator.kube import node_pods
from corefit_operator.kube.api_error import ApiError

ANSWER_MAX: Final = 64 * 1024 * 1024
"""Bytes of an answer: a page of 500 pods has 5 MB."""


async def body(method: str, path: str, response: RESTResponse) -> bytes:
    """The whole answer, unless it is larger than any should be."""
    body = bytearray()
    try:
        async for part in response.response.content.iter_any():
            body += part
            if len(body) > ANSWER_MAX:
                raise ApiError(f"{method} {path}: an answer of more than {ANSWER_MAX} bytes", status=response.status)
    finally:
        response.response.release()
    return bytes(body)


OBJECT: Final = msgspec.json.Decoder(dict[str, Any])


class Meta(msgspec.Struct, frozen=True, kw_only=True):
    """Of a page of a list."""

    token: str = msgspec.field(default="", name="continue")
    resource_version: str = msgspec.field(default="", name="resourceVersion")


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """One page of a list, its items not yet decoded: most of what they hold is never looked at."""

    metadata: Meta = Meta()
    items: list[msgspec.Raw] = []


class Versioned(msgspec.Struct, frozen=True, kw_only=True):
    """An object of which only the resource version is wanted."""

    metadata: Meta = Meta()


PAGES: Final = msgspec.json.Decoder(Page)
VERSIONED: Final = msgspec.json.Decoder(Versioned)
PODS: Final = msgspec.json.Decoder(node_pods.Pods)
