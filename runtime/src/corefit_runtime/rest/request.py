"""An inference request over HTTP, as the data plane takes it. May not decide what it is worth."""

from corefit_runtime.dataplane.load import LoadMeter
from corefit_runtime.dataplane.request import Caller, Coding, Pieces
from corefit_runtime.http.exchange import Exchange
from corefit_runtime.http.messages import OCTETS, Response
from corefit_runtime.rest import compression, load_report, responses
from corefit_runtime.rest.headers import HEADER_LENGTH, InferenceHeaders


class RestRequest:
    """An `EncodedRequest`: one object a request, and no closures, which a small request would feel.

    Args:
        exchange: by which it came.
        headers: what these say.
    """

    __slots__ = ("_accepts", "_exchange", "aligned", "caller", "coding", "json_length", "timeout_s")

    def __init__(self, exchange: Exchange, headers: InferenceHeaders) -> None:
        self._exchange = exchange
        self._accepts = headers.accepts
        self.caller: Caller = exchange
        self.json_length = headers.json_length
        self.timeout_s = headers.timeout_s
        self.aligned = not exchange.head.chunked
        self.coding: Coding | None = compression.ContentCoding(headers.encoding) if headers.encoding else None

    def render(self, json_length: int | None, pieces: Pieces, charged: int) -> Response:
        """The response with such an answer."""
        if json_length is None:
            return compression.compressed(Response(200, pieces), self._accepts)
        return Response(200, pieces, OCTETS, [(HEADER_LENGTH, b"%d" % json_length)], charged)

    def reply(self, answer: Response) -> None:
        """Sends it."""
        self._exchange.reply(answer)

    def fail(self, error: Exception) -> None:
        """Sends what went wrong."""
        self._exchange.reply(responses.of_error(error))


class ReportingRequest(RestRequest):
    """A request whose client wants a report of the load with the answer; others pay nothing for it.

    Args:
        exchange: by which it came.
        headers: what these say.
        load: what is reported.
    """

    __slots__ = ("_form", "_load")

    def __init__(self, exchange: Exchange, headers: InferenceHeaders, load: LoadMeter) -> None:
        super().__init__(exchange, headers)
        self._form = headers.load_format
        self._load = load

    def reply(self, answer: Response) -> None:
        """Sends it with the report."""
        super().reply(self._reported(answer))

    def fail(self, error: Exception) -> None:
        """Sends what went wrong with the report: a refusal is what a balancer most needs to hear of."""
        super().reply(self._reported(responses.of_error(error)))

    def _reported(self, answer: Response) -> Response:
        answer.headers.append(load_report.header(self._load.now(), self._form))
        return answer
