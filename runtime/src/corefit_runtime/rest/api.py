"""The inference port: the Open Inference Protocol v2 over HTTP.

Maps routes, headers and the error tree to HTTP, and hands requests to the pool. Small messages are parsed on the
event loop; what would hold it for more than about a millisecond is parsed aside.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Any, Final

from corefit_core.errors import CorefitError, InvalidInput, Shed, UnknownModel
from corefit_runtime.concurrency.offload import Offload
from corefit_runtime.http.exchange import Exchange
from corefit_runtime.http.messages import OCTETS, Head, Response, error_body
from corefit_runtime.pool.jobs import Job
from corefit_runtime.pool.model import Model
from corefit_runtime.pool.pool import Pool
from corefit_runtime.protocol import descriptions
from corefit_runtime.protocol.codec import Codec, encoded, feeds
from corefit_runtime.protocol.forms import COPIED_ASIDE, Form
from corefit_runtime.rest import compression, openapi, responses
from corefit_runtime.rest.aside import OFFLOAD_JSON, Aside, Unsent
from corefit_runtime.rest.headers import HEADER_LENGTH, Facts, facts_of
from corefit_runtime.telemetry.service import VERSION, Service
from corefit_runtime.tensors.datatypes import Array

log: Final = logging.getLogger(__name__)
CROWDED_S: Final = 1.0
"""Seconds after a refusal in which requests are looked at before their bodies: it costs those 15 us that are taken."""
DESCRIBED: Final = "/openapi.json"
READ: Final = b"GET, HEAD"


class InferenceApi:
    """The handler of the inference port."""

    def __init__(self, service: Service, pool: Pool, offload: Offload) -> None:
        self._service = service
        self._pool = pool
        settings = service.settings
        self._offload = offload
        self._aside = Aside(offload, settings.max_body, settings.max_body_memory)
        self._unsent = Unsent(asyncio.get_running_loop())
        self._meter = service.meter
        self._name = settings.name
        self._version = settings.model_version
        base = f"/v2/models/{self._name}"
        self._bases = (base, f"{base}/versions/{self._version}")
        self._pages: dict[str, Callable[[], Response]] = {
            "/v2": lambda: Response(200, [descriptions.server(VERSION)]),
            "/v2/health/live": lambda: Response(200, [b'{"live":true}']),
            "/v2/health/ready": lambda: self._ready({}),
            DESCRIBED: self._description,
        }
        for b in self._bases:
            self._pages[b] = lambda: self._loaded(Codec.metadata)
            self._pages[f"{b}/ready"] = lambda: self._ready({"name": self._name})
            self._pages[f"{b}/config"] = lambda: self._loaded(Codec.configuration)
        self._infer_paths = {f"{b}/infer" for b in self._bases}
        self._infer_urls = {path.encode() for path in self._infer_paths}
        self._timeout_s = settings.timeout_ms / 1000
        self._shed_s = -CROWDED_S

    def bound_memory(self, most: int) -> None:
        """From now on a request that takes more bytes than this is too large: there will never be room for it."""
        self._aside.max_memory = most

    def __call__(self, exchange: Exchange) -> None:
        """Answers one exchange, now or later."""
        try:
            # By their bytes first; the same path may be written in other ways (RFC 9112, 3.2.2; RFC 3986, 6.2.2).
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
        try:
            refusal = self._refusal(service.model, service.codec, head, first, now)
        except InvalidInput as error:
            self._meter.invalid += 1
            return responses.of_error(error)
        if refusal is None:
            return None
        self._refused(refusal)
        return responses.of_error(refusal)

    def _refusal(self, model: Model, codec: Codec, head: Head, first: memoryview, now: float) -> Shed | None:
        facts = facts_of(head)
        length = facts.length or 0
        form = codec.known(first[:length]) if 0 < length <= len(first) else None
        if form is None:
            return self._pool.full()
        seconds = self._seconds(form, facts)
        return self._pool.refusal(model, form.rows, form.elements, now, now + seconds if seconds else None)

    def _infer(self, exchange: Exchange) -> None:
        service, body = self._service, exchange.body
        model, codec = service.model, service.codec
        if model is None or codec is None:
            raise Shed(service.message or "the model is not loaded yet", cause="loading", retry_after_s=1)
        facts = facts_of(exchange.head)
        if facts.encoding or (facts.length or len(body)) > OFFLOAD_JSON:
            self._begin_aside(exchange, model, codec, facts)
            return
        form = codec.form(body, facts.length)
        # A chunked body is not aligned: its tensors are copied.
        if len(body) > form.aside_from or (len(body) > COPIED_ASIDE and exchange.head.chunked):
            self._begin_aside(exchange, model, codec, facts)
            return
        self._submit(exchange, model, codec, facts, form, feeds(form, body, facts.length))

    def _begin_aside(self, exchange: Exchange, model: Model, codec: Codec, facts: Facts) -> None:
        full = self._pool.full()
        if full is not None:
            raise full  # Before it costs anything to read.
        self._offload.start(self._infer_aside(exchange, model, codec, facts))

    async def _infer_aside(self, exchange: Exchange, model: Model, codec: Codec, facts: Facts) -> None:
        try:
            parsed = await self._aside.parse(exchange, codec, facts)
            if parsed is not None:
                self._submit(exchange, model, codec, facts, *parsed)
        except Exception as error:  # noqa: BLE001 - nobody else would answer
            if exchange.alive():
                self._fail(exchange, error)

    def _submit(  # noqa: PLR0917 - what a request is
        self, exchange: Exchange, model: Model, codec: Codec, facts: Facts, form: Form, tensors: dict[str, Array]
    ) -> None:
        meter, pool = self._meter, self._pool
        arrived = exchange.arrived_s
        seconds = self._seconds(form, facts)

        def finish(outputs: list[Any]) -> Response:
            self._unsent.take(exchange, codec.weight(form, outputs), self._aside.max_memory)
            length, pieces = codec.render(form, outputs)
            if length is None:
                return compression.compressed(Response(200, pieces), facts.accepts)
            return Response(200, pieces, OCTETS, [(HEADER_LENGTH, b"%d" % length)])

        def deliver(answer: Response | Exception) -> None:
            if isinstance(answer, Exception):
                self._fail(exchange, answer, counted=True)
            else:
                exchange.reply(answer)

        job = Job(
            model=model,
            feeds=tensors,
            outputs=form.names,
            rows=form.rows,
            elements=form.elements,
            arrived_s=arrived,
            deadline_s=arrived + seconds if seconds else None,
            finish=finish,
            deliver=deliver,
        )
        exchange.on_gone = lambda: self._gone(job)  # Before it may be answered, which ends it.
        pool.submit(job)
        meter.arrivals += 1
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
                self._refused(error)
            elif isinstance(error, InvalidInput):
                self._meter.invalid += 1
        if not isinstance(error, CorefitError):
            log.error("a request failed: %s", error, exc_info=error)
        exchange.reply(responses.of_error(error))

    def _refused(self, refusal: Shed) -> None:
        self._shed_s = time.monotonic()
        self._meter.refused(refusal.cause)
        self._service.refused(refusal.cause)

    def _other(self, exchange: Exchange) -> None:
        method, path = exchange.head.method, exchange.head.path.rstrip("/")
        if path in self._infer_paths:
            if method == b"POST":
                self._infer(exchange)
            else:
                exchange.reply(responses.not_allowed(method, path, b"POST"))
            return
        page = self._pages.get(path)
        if page is None and path.startswith("/v2/models/") and not self._of_model(path):
            raise UnknownModel(f"no such model or version; {self._name} version {self._version} is served")
        if page is None:
            exchange.reply(Response(404, [error_body(f"{path} is not served here; {DESCRIBED} lists what is")]))
        else:
            exchange.reply(page() if method in {b"GET", b"HEAD"} else responses.not_allowed(method, path, READ))

    def _of_model(self, path: str) -> bool:
        base, versioned = self._bases
        return path.startswith(f"{versioned}/") or (path.startswith(f"{base}/") and f"{base}/versions" not in path)

    def _ready(self, who: dict[str, str]) -> Response:
        ready = self._service.ready
        return Response(200 if ready else 503, [encoded({**who, "ready": ready})])

    def _loaded(self, describe: Callable[[Codec], bytes]) -> Response:
        codec = self._service.codec
        if codec is None:
            return Response(503, [error_body("the model is not loaded yet")])
        return Response(200, [describe(codec)])

    def _description(self) -> Response:
        codec = self._service.codec
        signature = codec.signature if codec is not None else None
        return Response(200, [openapi.description(self._name, self._version, VERSION, signature)])
