"""The data plane: takes inference requests in, has them run, and answers them, or says why not.

Small messages are decoded on the event loop; what would hold it for more than about a millisecond is decoded off it.
Whatever brought a request, HTTP over TCP or over a Unix socket, is thin over this: the data plane counts, admits, sheds
and cancels. It knows no transport. `infer` takes the Open Inference Protocol's bytes; a transport of another format
decodes and renders by itself, and calls `submit`.
"""

import asyncio
import logging
import time
from typing import Any, Final

from corefit_core.errors import CorefitError, InvalidInput, Shed
from corefit_runtime.concurrency.offload import Offload
from corefit_runtime.dataplane.answers import AnswerMemory
from corefit_runtime.dataplane.decoding import OFFLOAD_JSON, Decoder
from corefit_runtime.dataplane.load import LoadMeter
from corefit_runtime.dataplane.request import DecodedForm, EncodedRequest, InferenceRequest, Renderer
from corefit_runtime.pool.jobs import Job
from corefit_runtime.pool.model import Model
from corefit_runtime.pool.pool import Pool
from corefit_runtime.protocol.forms import OFFLOAD_COPIES
from corefit_runtime.serving.readiness import Readiness
from corefit_runtime.serving.servable import Published, Servable
from corefit_runtime.settings.settings import Settings
from corefit_runtime.telemetry.attention import Attention
from corefit_runtime.telemetry.meter import Meter
from corefit_runtime.tensors.datatypes import Array

log: Final = logging.getLogger(__name__)
SHEDDING_S: Final = 1.0
"""Seconds after a refusal in which requests are looked at before their bodies: it costs those 15 us that are taken."""


class DataPlane:
    """See the module.

    Args:
        settings: how long requests may take, and how large they may be.
        published: what is served.
        readiness: why nothing is.
        pool: what runs requests.
        offload: where what would hold the event loop is decoded.
        meter: counts.
        attention: hears of refusals.

    Attributes:
        load: how loaded the process is.
    """

    def __init__(
        self,
        settings: Settings,
        published: Published,
        readiness: Readiness,
        pool: Pool,
        offload: Offload,
        *,
        meter: Meter,
        attention: Attention,
    ) -> None:
        self._published = published
        self._readiness = readiness
        self._pool = pool
        self._offload = offload
        self._decoder = Decoder(offload, settings.max_body, settings.max_body_memory)
        self._answers = AnswerMemory(asyncio.get_running_loop())
        self._meter = meter
        self._attention = attention
        self._timeout_s = settings.timeout_ms / 1000
        self.load = LoadMeter(meter, pool, published)
        self._shed_s = -SHEDDING_S

    @property
    def ready(self) -> bool:
        """Whether requests should come here."""
        return self._readiness.ready

    @property
    def servable(self) -> Servable | None:
        """What is served; None while nothing is."""
        return self._published.servable

    def bound_memory(self, most: int) -> None:
        """From now on a request that takes more bytes than this is too large: there will never be room for it."""
        self._decoder.max_memory = most

    def loaded(self) -> Servable:
        """What is served.

        Raises:
            Shed: nothing is, and why.
        """
        servable = self._published.servable
        if servable is None:
            raise Shed(self._readiness.message or "the model is not loaded yet", cause="loading", retry_after_s=1)
        return servable

    def infer(self, request: EncodedRequest) -> None:
        """Answers a request of the Open Inference Protocol's bytes, now or later."""
        try:
            servable, body, length = self.loaded(), request.caller.body, request.json_length
            if request.coding is not None or (length or len(body)) > OFFLOAD_JSON:
                self._decode_offloaded(servable, request)
                return
            form = servable.codec.form(body, length)
            if len(body) > form.offload_from or (len(body) > OFFLOAD_COPIES and not request.aligned):
                self._decode_offloaded(servable, request)
                return
            tensors = self._decoder.decode_here(request, form, servable.codec.strings)
            self.submit(request, servable.model, form, tensors, servable.codec)
        except CorefitError as error:
            self.fail(request, error)

    def submit(
        self,
        request: InferenceRequest,
        model: Model,
        form: DecodedForm,
        tensors: dict[str, Array],
        renderer: Renderer,
    ) -> None:
        """Has a decoded request run, and answers it as the renderer says.

        Raises:
            Shed: it can't be answered in time; whoever decoded the request calls `fail`.
        """
        caller, memory = request.caller, model.engine.memory
        seconds = self._seconds(form, request.timeout_s)

        def finish(outputs: list[Any]) -> Any:
            self._answers.take(caller, renderer.weight(form, outputs), self._decoder.max_memory)
            length, pieces = renderer.render(form, outputs)
            return request.render(length, pieces, memory.charged(pieces) if memory.held else 0)

        def deliver(answer: Any) -> None:
            if isinstance(answer, Exception):
                self._answer_error(request, answer)
            else:
                request.reply(answer)

        job = Job(
            model=model,
            feeds=tensors,
            outputs=form.names,
            rows=form.rows,
            elements=form.elements,
            arrived_s=caller.arrived_s,
            deadline_s=caller.arrived_s + seconds if seconds else None,
            finish=finish,
            deliver=deliver,
        )
        caller.on_gone = lambda: self._gone(job)  # Before it may be answered, which ends it.
        self._pool.submit(job)
        self._meter.arrivals += 1
        self._meter.admitted += 1

    @property
    def shedding(self) -> bool:
        """Whether requests were refused a moment ago: then it pays to ask for `refusal` before a body is read."""
        return time.monotonic() - self._shed_s <= SHEDDING_S and self._published.servable is not None

    def refusal(self, text: memoryview | None, timeout_s: float) -> Shed | None:
        """The refusal of a request before its body is read, counted; None where it has to be read.

        Args:
            text: the JSON part of the body; None where it has not come as a whole.
            timeout_s: how long the transport says that the caller waits; 0: it doesn't say.
        """
        servable = self._published.servable
        if servable is None:
            return None
        form = servable.codec.known(text) if text is not None else None
        if form is None:
            refusal = self._pool.full()
        else:
            now, seconds = time.monotonic(), self._seconds(form, timeout_s)
            deadline_s = now + seconds if seconds else None
            refusal = self._pool.refusal(servable.model, form.rows, form.elements, now, deadline_s)
        if refusal is not None:
            self.count(refusal)
        return refusal

    def count(self, error: Exception) -> None:
        """Counts a request that is not taken; a transport calls it for what it finds itself."""
        if isinstance(error, Shed):
            self._shed_s = time.monotonic()
            self._meter.refused(error.cause)
            self._attention.refused(error.cause)
        elif isinstance(error, InvalidInput):
            self._meter.invalid += 1

    def fail(self, request: InferenceRequest, error: Exception) -> None:
        """Answers with an error that nobody has counted yet."""
        self.count(error)
        self._answer_error(request, error)

    def _decode_offloaded(self, servable: Servable, request: EncodedRequest) -> None:
        full = self._pool.full()
        if full is not None:
            raise full  # Before it costs anything to read.
        self._offload.start(self._submit_offloaded(servable, request))

    async def _submit_offloaded(self, servable: Servable, request: EncodedRequest) -> None:
        try:
            decoded = await self._decoder.decode(request, servable.codec)
            if decoded is not None:
                self.submit(request, servable.model, *decoded, servable.codec)
        except Exception as error:  # noqa: BLE001 - nobody else would answer
            if request.caller.alive():
                self.fail(request, error)

    def _seconds(self, form: DecodedForm, timeout_s: float) -> float:
        """How long the caller waits; 0: nobody says."""
        return form.timeout_us / 1e6 or timeout_s or self._timeout_s

    def _gone(self, job: Job) -> Job | None:
        """Returns the job while a worker runs it: a run can't be ended."""
        if self._pool.cancel(job):
            self._meter.cancelled += 1
        return job if job.feeds else None

    def _answer_error(self, request: InferenceRequest, error: Exception) -> None:
        if not isinstance(error, CorefitError):
            log.error("a request failed: %s", error, exc_info=error)
        request.fail(error)
