"""The error tree as HTTP responses of the inference port."""

import math

from corefit_core.errors import CorefitError, DeadlineExceeded, InvalidInput, Shed, TooLarge, UnknownModel
from corefit_runtime.http.messages import Response, error_body


def of_error(error: Exception) -> Response:
    """The response that says what went wrong."""
    message = str(error) if isinstance(error, CorefitError) else f"the model failed: {str(error)[:500]}"
    response = Response(_status(error), [error_body(message)])
    if isinstance(error, Shed):
        response.headers.append((b"retry-after", b"%d" % max(1, math.ceil(error.retry_after_s))))
    return response


def not_allowed(method: bytes, path: str, allowed: bytes) -> Response:
    """The response to a method that a path doesn't have."""
    message = f"{method.decode()} {path} is not part of the protocol: it takes {allowed.decode()}"
    return Response(405, [error_body(message)], headers=[(b"allow", allowed)])


def _status(error: Exception) -> int:
    """500 for what is not of the tree."""
    match error:
        case UnknownModel():
            return 404
        case TooLarge():
            return 413
        case InvalidInput():
            return 400
        case Shed():
            return 503
        case DeadlineExceeded():
            return 504
    return 500
