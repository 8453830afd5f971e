"""Requests to the API server: whose turn it is, whether a write may be sent, how long it may take, and what came back.

May not know what is requested: that is `cluster`'s.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from http import HTTPStatus
from typing import Any, Final, TypeVar
from urllib.parse import urlencode

import msgspec
from aiohttp import ClientError
from kubernetes.aio.client import ApiClient
from kubernetes.aio.client.rest import RESTResponse

from corefit_operator.concurrency.fair_semaphore import FairSemaphore
from corefit_operator.kube import paths, responses
from corefit_operator.kube.api_error import ApiError, excerpt, refusal
from corefit_operator.kube.fence import Fence

REQUEST_TIMEOUT_S: Final = 15.0
"""Seconds: API servers answer in milliseconds; a request that takes so long is retried with backoff."""
JSON: Final = "application/json"
T = TypeVar("T")
Body = Mapping[str, Any] | Sequence[Any]


class Transport:
    """Sends requests over one client.

    Args:
        client: owns the connections; closed by whoever made it.
        observe: called with each request's verb, resource and status (0: no answer), for the metrics.
        fence: says whether this process may write.
        timeout_s: seconds after which a request that was sent is given up.
    """

    def __init__(
        self, client: ApiClient, observe: Callable[[str, str, int], None], fence: Fence, timeout_s: float
    ) -> None:
        self._client = client
        self._observe = observe
        self._fence = fence
        self._timeout_s = timeout_s
        places = client.configuration.connection_pool_maxsize
        self._turns: FairSemaphore[str] = FairSemaphore(places, share=max(1, places // 2))

    async def read(
        self,
        decode: Callable[[bytes], T],
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Body | None = None,
        content_type: str | None = None,
    ) -> T:
        """What `decode` makes of the answer.

        Raises:
            ApiError: there is no answer, or it is a refusal or no JSON.
        """
        # Before any limit counts: what waits for its turn is not late.
        async with self._turns.of(paths.namespace(path)):
            response, data = await self._answer(method, path, query or {}, body, content_type)
        self._observe(method, paths.resource(path), response.status)
        if response.status >= HTTPStatus.BAD_REQUEST:
            raise refusal(method, path, response, data)
        try:
            return decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            said = f"{method} {path}: {response.status}, and no JSON object from the API server or a proxy before it"
            raise ApiError(f"{said}: {error}: {excerpt(data)}", status=response.status) from error

    async def _answer(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        body: Body | None,
        content_type: str | None,
    ) -> tuple[RESTResponse, bytes]:
        with nullcontext(math.inf) if method == "GET" else self._fence.writing() as left_s:
            if left_s <= 0:
                raise ApiError(f"{method} {path}: not sent, since this operator doesn't lead", status=0)
            limit_s = min(left_s, self._timeout_s)
            try:
                response = await self.send(
                    method, path, query=query, body=body, content_type=content_type, timeout_s=limit_s
                )
                return response, await responses.body(method, path, response)
            except (ClientError, TimeoutError, OSError) as error:
                self._observe(method, paths.resource(path), 0)
                raise ApiError(f"{method} {path}: {str(error) or type(error).__name__}", status=0) from error

    async def send(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Body | None = None,
        content_type: str | None = None,
        timeout_s: float | None = None,
    ) -> RESTResponse:
        """The answer, not yet read; the caller releases it."""
        headers = {"Accept": JSON} | ({"Content-Type": content_type} if content_type else {})
        await self._client.update_params_for_auth(headers, [], ["BearerToken"], path, method, body)
        url = f"{self._client.configuration.host}/{path}" + (f"?{urlencode(query)}" if query else "")
        return await self._client.call_api(
            method, url, header_params=headers, body=body, _request_timeout=timeout_s or self._timeout_s
        )
