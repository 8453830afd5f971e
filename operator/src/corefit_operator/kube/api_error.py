"""Errors of the API server: what it refuses for good, and what may be tried again. May not send anything."""

from http import HTTPStatus
from typing import Final

import msgspec
from kubernetes.aio.client.rest import RESTResponse

from corefit_core.errors import CorefitError

_UNTYPED: Final = "failed to create typed patch object"
"""How the API server answers an apply with a field of a wrong type: with 500, as if the fault were its own."""


class ApiError(CorefitError):
    """The API server refused, or could not be reached.

    Args:
        message: what it said.
        status: the HTTP status; 0 when there was no answer.
        retry_after_s: what it asked to wait.
    """

    def __init__(self, message: str, *, status: int, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.retry_after_s = retry_after_s

    @property
    def refused(self) -> bool:
        """Whether the same request will be refused again until something else changes: 403, 413, 422 and the like."""
        if self.status == HTTPStatus.INTERNAL_SERVER_ERROR:
            return _UNTYPED in str(self)
        transient = (HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT, HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.UNAUTHORIZED)
        return HTTPStatus.BAD_REQUEST <= self.status < HTTPStatus.INTERNAL_SERVER_ERROR and self.status not in transient


def excerpt(data: bytes) -> str:
    """The beginning of the answer, for a message."""
    return data[:200].decode(errors="replace")


def refusal(method: str, path: str, response: RESTResponse, data: bytes) -> ApiError:
    """What an answer that is no success says."""
    try:
        message = str(msgspec.json.decode(data)["message"])
    except (msgspec.DecodeError, UnicodeDecodeError, KeyError, TypeError):
        message = excerpt(data)
    wait = response.headers.get("Retry-After", "")
    return ApiError(
        f"{method} {path}: {response.status}: {message}",
        status=response.status,
        retry_after_s=float(wait) if wait.isdecimal() else None,
    )
