"""The inference port: the Open Inference Protocol v2 over HTTP.

Maps routes, headers and the error tree to HTTP; whatever a request is worth is the data plane's.
"""

from collections.abc import Callable
from typing import Final

from corefit_core.errors import CorefitError, InvalidInput, UnknownModel
from corefit_runtime import __version__
from corefit_runtime.dataplane.data_plane import DataPlane
from corefit_runtime.http.exchange import Exchange
from corefit_runtime.http.messages import Head, Response, error_body
from corefit_runtime.protocol import descriptions
from corefit_runtime.protocol.codec import Codec, encoded
from corefit_runtime.rest import load_report, openapi, responses
from corefit_runtime.rest.headers import headers_of
from corefit_runtime.rest.request import ReportingRequest, RestRequest

DESCRIPTION: Final = "/openapi.json"
READ: Final = b"GET, HEAD"


class InferenceApi:
    """The handler of the inference port.

    Args:
        plane: answers requests.
        name: the model's.
        version: likewise.
    """

    def __init__(self, plane: DataPlane, *, name: str, version: str) -> None:
        self._plane = plane
        self._name = name
        self._version = version
        base = f"/v2/models/{name}"
        self._bases = (base, f"{base}/versions/{version}")
        self._pages: dict[str, Callable[[], Response]] = {
            "/v2": lambda: Response(200, [descriptions.server(__version__)]),
            "/v2/health/live": lambda: Response(200, [b'{"live":true}']),
            "/v2/health/ready": lambda: self._ready({}),
            DESCRIPTION: self._description,
        }
        for b in self._bases:
            self._pages[b] = lambda: self._loaded(Codec.metadata)
            self._pages[f"{b}/ready"] = lambda: self._ready({"name": self._name})
            self._pages[f"{b}/config"] = lambda: self._loaded(Codec.configuration)
        self._infer_paths = {f"{b}/infer" for b in self._bases}
        self._infer_urls = {path.encode() for path in self._infer_paths}

    def __call__(self, exchange: Exchange) -> None:
        """Answers one exchange, now or later."""
        try:
            # By their bytes first; the same path may be written in other ways (RFC 9112, 3.2.2; RFC 3986, 6.2.2).
            if exchange.head.url in self._infer_urls and exchange.head.method == b"POST":
                self._plane.infer(self._request(exchange))
            else:
                self._other(exchange)
        except CorefitError as error:
            self._plane.count(error)
            exchange.reply(responses.of_error(error))

    def refusal(self, head: Head, first: memoryview) -> Response | None:
        """The answer to what won't be taken, by the first bytes of its body: the others are then thrown away unread.

        Half of what a refusal costs is 600 KB that nobody looks at.
        """
        if not self._plane.shedding or head.url not in self._infer_urls or head.method != b"POST":
            return None
        try:
            headers = headers_of(head)
        except InvalidInput as error:
            self._plane.count(error)
            return responses.of_error(error)
        length = headers.json_length or 0
        refusal = self._plane.refusal(first[:length] if 0 < length <= len(first) else None, headers.timeout_s)
        if refusal is None:
            return None
        response = responses.of_error(refusal)
        if headers.load_format:
            response.headers.append(load_report.header(self._plane.load.now(), headers.load_format))
        return response

    def _request(self, exchange: Exchange) -> RestRequest:
        headers = headers_of(exchange.head)
        if headers.load_format:
            return ReportingRequest(exchange, headers, self._plane.load)
        return RestRequest(exchange, headers)

    def _other(self, exchange: Exchange) -> None:
        method, path = exchange.head.method, exchange.head.path.rstrip("/")
        if path in self._infer_paths:
            if method == b"POST":
                self._plane.infer(self._request(exchange))
            else:
                exchange.reply(responses.not_allowed(method, path, b"POST"))
            return
        page = self._pages.get(path)
        if page is None and path.startswith("/v2/models/") and not self._of_model(path):
            raise UnknownModel(f"no such model or version; {self._name} version {self._version} is served")
        if page is None:
            exchange.reply(
                Response(404, [error_body(f"{path or '/'} is not served here; {DESCRIPTION} lists what is")])
            )
        else:
            exchange.reply(page() if method in {b"GET", b"HEAD"} else responses.not_allowed(method, path, READ))

    def _of_model(self, path: str) -> bool:
        base, versioned = self._bases
        return path.startswith(f"{versioned}/") or (path.startswith(f"{base}/") and f"{base}/versions" not in path)

    def _ready(self, who: dict[str, str]) -> Response:
        ready = self._plane.ready
        return Response(200 if ready else 503, [encoded({**who, "ready": ready})])

    def _loaded(self, describe: Callable[[Codec], bytes]) -> Response:
        servable = self._plane.servable
        if servable is None:
            return Response(503, [error_body("the model is not loaded yet")])
        return Response(200, [describe(servable.codec)])

    def _description(self) -> Response:
        servable = self._plane.servable
        signature = servable.codec.signature if servable is not None else None
        return Response(200, [openapi.description(self._name, self._version, __version__, signature)])
