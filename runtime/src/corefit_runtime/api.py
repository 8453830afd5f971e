"""The inference port: the Open Inference Protocol v2 over HTTP.

Maps routes, headers and the error tree to HTTP, and hands requests to the pool. Small messages are parsed on the
event loop; what would hold it for more than about a millisecond goes through `offload`.
"""

import logging
import math
import time
from dataclasses import dataclass
from typing import Any, Final

from corefit_core.errors import (
    CorefitError,
    DeadlineExceeded,
    InvalidInput,
    Shed,
    TooLarge,
    UnknownModel,
)
from corefit_runtime import compression, protocol
from corefit_runtime.forms import Form
from corefit_runtime.http_exchange import Exchange
from corefit_runtime.http_messages import OCTETS, Head, Response, error_body
from corefit_runtime.jobs import Job, Model
from corefit_runtime.offload import Offload
from corefit_runtime.pool import Pool
from corefit_runtime.protocol import Codec, InferRequest
from corefit_runtime.service import VERSION, Service

log: Final = logging.getLogger(__name__)
access: Final = logging.getLogger("corefit.access")
HEADER_LENGTH: Final = b"inference-header-content-length"
TIMEOUT_HEADERS: Final = (b"corefit-timeout-ms", b"x-envoy-expected-rq-timeout-ms")
"""Ours, and the one by which Envoy and Istio tell how long the client's route allows."""
CROWDED_S: Final = 1.0
"""Seconds after a refusal in which requests are looked at before their bodies: it costs those 15 us that are taken."""
OFFLOAD_JSON: Final = 131_072
"""Bytes of JSON above which it is parsed off the loop: at 150 to 300 MB/s that is 0.5 to 1 ms."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What the headers of an inference request say.

    Attributes:
        length: of the JSON part, None when all of the body is.
        encoding: of the body.
        accepts: encodings that the client takes.
        timeout_s: how long the client waits; 0: it doesn't say.
    """

    length: int | None
    encoding: bytes
    accepts: bytes
    timeout_s: float


class InferenceApi:
    """The handler of the inference port."""

    def __init__(self, service: Service, pool: Pool, offload: Offload) -> None:
        self._service = service
        self._pool = pool
        self._offload = offload
        settings = service.settings
        self._meter = service.meter
        self._name = settings.name
        self._version = settings.model_version
        base = f"/v2/models/{self._name}"
        self._bases = (base, f"{base}/versions/{self._version}")
        self._infer_urls = {f"{b}/infer".encode() for b in self._bases}
        self._timeout_s = settings.timeout_ms / 1000
        self._shed_s = -CROWDED_S

    def __call__(self, exchange: Exchange) -> None:
        """Answers one exchange, now or later."""
        try:
            if exchange.head.url in self._infer_urls and exchange.head.method == b"POST":
                self._infer(exchange)
            else:
                self._other(exchange)
        except CorefitError as error:
            self._fail(exchange, error)

    def refusal(self, head: Head, first: memoryview) -> Response | None:
        """The answer to what won't be taken, by the first bytes of its body: the others are then thrown away unread.

        Half of what a refusal costs is 600 KB that nobody looks at.
        """
        now, service = time.monotonic(), self._service
        if now - self._shed_s > CROWDED_S or service.model is None or service.codec is None:
            return None
        if head.url not in self._infer_urls or head.method != b"POST":
            return None
        facts = _facts(head)
        length = facts.length or 0
        form = service.codec.known(first[:length]) if 0 < length <= len(first) else None
        if form is None:
            refusal = self._pool.full()
        else:
            seconds = self._seconds(form, facts)
            refusal = self._pool.refusal(service.model, form.rows, now, now + seconds if seconds else None)
        if refusal is None:
            return None
        self._shed_s = now
        self._meter.refused(refusal.cause)
        return _response(refusal)

    def _infer(self, exchange: Exchange) -> None:
        service = self._service
        if service.model is None or service.codec is None:
            self._meter.arrivals += 1
            raise Shed(service.message or "the model is not loaded yet", cause="loading", retry_after_s=1)
        facts = _facts(exchange.head)
        if facts.encoding or (facts.length or len(exchange.body)) > OFFLOAD_JSON:
            self._parse_aside(exchange, service.model, service.codec, facts)
        else:
            request = service.codec.parse(exchange.body, facts.length)
            self._submit(exchange, service.model, service.codec, facts, request)

    def _parse_aside(self, exchange: Exchange, model: Model, codec: Codec, facts: Facts) -> None:
        max_body = self._service.settings.max_body
        full = self._pool.full()
        if full is not None:
            self._meter.arrivals += 1  # Before it costs anything to read.
            raise full

        def parse() -> InferRequest:
            return codec.parse(compression.expand(exchange.body, facts.encoding, max_body), facts.length)

        def parsed(outcome: InferRequest | Exception) -> None:
            if isinstance(outcome, Exception):
                self._fail(exchange, outcome)
                return
            try:
                self._submit(exchange, model, codec, facts, outcome)
            except CorefitError as error:
                self._fail(exchange, error)

        self._offload.submit(parse, parsed)

    def _submit(self, exchange: Exchange, model: Model, codec: Codec, facts: Facts, request: InferRequest) -> None:
        meter, pool = self._meter, self._pool
        arrived = exchange.arrived_s
        seconds = self._seconds(request.form, facts)

        def finish(outputs: list[Any]) -> Response:
            length, pieces = codec.render(request, outputs)
            if length is None:
                return compression.compressed(Response(200, pieces), facts.accepts)
            return Response(200, pieces, OCTETS, [(HEADER_LENGTH, b"%d" % length)])

        def deliver(answer: Response | Exception) -> None:
            if isinstance(answer, Exception):
                self._fail(exchange, answer, counted=True)
            else:
                exchange.reply(answer)
            self._note(exchange, answer)

        job = Job(
            model=model,
            feeds=request.feeds,
            outputs=request.form.names,
            rows=request.form.rows,
            arrived_s=arrived,
            deadline_s=arrived + seconds if seconds else None,
            finish=finish,
            deliver=deliver,
        )
        exchange.on_gone = lambda: self._gone(job)  # Before it may be answered, which ends it.
        meter.arrivals += 1
        pool.submit(job)
        meter.admitted += 1

    def _seconds(self, form: Form, facts: Facts) -> float:
        """How long the client waits; 0: nobody says."""
        return form.timeout_us / 1e6 or facts.timeout_s or self._timeout_s

    def _gone(self, job: Job) -> None:
        if self._pool.cancel(job):
            self._meter.cancelled += 1

    def _fail(self, exchange: Exchange, error: Exception, *, counted: bool = False) -> None:
        """Answers with the error. `counted`: the pool's meter has it already."""
        if not counted:
            if isinstance(error, Shed):
                self._meter.shed(error.cause)
                self._shed_s = time.monotonic()
            elif isinstance(error, InvalidInput):
                self._meter.invalid += 1
        if not isinstance(error, CorefitError):
            log.error("a request failed: %s", error, exc_info=error)
        exchange.reply(_response(error))

    def _note(self, exchange: Exchange, answer: Response | Exception) -> None:
        if self._service.settings.access_log:
            status = status_of(answer) if isinstance(answer, Exception) else answer.status
            taken_ms = 1000 * (time.monotonic() - exchange.arrived_s)
            access.info("%s %s %d %.2f ms", exchange.head.method.decode(), exchange.head.path, status, taken_ms)

    def _other(self, exchange: Exchange) -> None:
        path = exchange.head.path.rstrip("/")
        if exchange.head.method != b"GET":
            status = 405 if self._page(path) is not None else 404
            hint = f"{exchange.head.method.decode()} {path} is not part of the protocol that is served here"
            if path.endswith("/infer"):
                raise UnknownModel(f"no such model or version; {self._name} version {self._version} is served")
            exchange.reply(Response(status, [error_body(hint)]))
            return
        page = self._page(path)
        if page is None and path.startswith("/v2/models/"):
            raise UnknownModel(f"no such model or version; {self._name} version {self._version} is served")
        exchange.reply(page or Response(404, [error_body(f"{path} is not part of the protocol")]))

    def _page(self, path: str) -> Response | None:
        if path in {"/v2/health/ready", *(f"{base}/ready" for base in self._bases)}:
            return self._ready()
        if path in self._bases:
            return self._model()
        if path == "/v2/health/live":
            return Response(200, [b'{"live":true}'])
        return Response(200, [protocol.server_metadata(VERSION)]) if path == "/v2" else None

    def _ready(self) -> Response:
        return Response(200, [b'{"ready":true}']) if self._service.ready else Response(503, [b'{"ready":false}'])

    def _model(self) -> Response:
        codec = self._service.codec
        if codec is None:
            return Response(503, [error_body("the model is not loaded yet")])
        return Response(200, [codec.metadata()])


def _response(error: Exception) -> Response:
    message = str(error) if isinstance(error, CorefitError) else f"the model failed: {str(error)[:500]}"
    response = Response(status_of(error), [error_body(message)])
    if isinstance(error, Shed):
        response.headers.append((b"retry-after", b"%d" % max(1, math.ceil(error.retry_after_s))))
    return response


def status_of(error: Exception) -> int:
    """The HTTP status of an error of the tree; 500 for anything else."""
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


def _facts(head: Head) -> Facts:
    known = head.facts
    if isinstance(known, Facts):
        return known
    headers = head.headers
    facts = head.facts = Facts(
        length=_header_length(headers),
        encoding=headers.get(b"content-encoding", b""),
        accepts=headers.get(b"accept-encoding", b""),
        timeout_s=_header_timeout_s(headers),
    )
    return facts


def _header_length(headers: dict[bytes, bytes]) -> int | None:
    value = headers.get(HEADER_LENGTH)
    if value is None:
        return None
    if not value.isdigit() or len(value) > 15:
        raise InvalidInput("Inference-Header-Content-Length is not a number of bytes")
    return int(value)


def _header_timeout_s(headers: dict[bytes, bytes]) -> float:
    for name in TIMEOUT_HEADERS:
        value = headers.get(name)
        if value is not None:
            if not value.isdigit() or len(value) > 12:
                raise InvalidInput(f"{name.decode()} is not a number of milliseconds")
            return int(value) / 1000
    return 0.0
