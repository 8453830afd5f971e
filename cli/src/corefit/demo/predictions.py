"""Asks the served models for answers that are known, and says which were right. May not scale or wait."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import aiohttp
import msgspec

from corefit.load import Request
from corefit.load.target import json_request

TOLERANCE: Final = 0.01
"""Of a score of about 10: another CPU's vector instructions add up in another order, a wrong row is off by units."""
ROWS_A_REQUEST: Final = 10


class Accuracy(msgspec.Struct, frozen=True, kw_only=True):
    """What the service said of rows that the model never saw.

    Attributes:
        rows: how many were asked.
        as_predicted: on how many the service said what the model itself says.
        as_labelled: on how many that is what is on the picture; no model is right on all of them.
    """

    rows: int
    as_predicted: int
    as_labelled: int


def known_rows(rows_file: Path) -> Any:
    """The rows of an example and what is known of them."""
    return json.loads(rows_file.read_text())


async def check_digits(url: str, known: Any) -> Accuracy:
    """Send the test rows in requests of ten and compare the labels that come back."""
    answers: list[int] = []
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30)) as session:
        for start in range(0, len(known["rows"]), ROWS_A_REQUEST):
            body = payload(known["input"], known["rows"][start : start + ROWS_A_REQUEST])
            async with session.post(url, json=body) as response:
                response.raise_for_status()
                answers += output(await response.read(), known["output"])
    return accuracy(answers, known["predictions"], known["labels"])


def accuracy(answers: Sequence[int], predictions: Sequence[int], labels: Sequence[int]) -> Accuracy:
    """Compare row by row; rows without an answer are wrong."""
    return Accuracy(
        rows=len(labels),
        as_predicted=sum(a == b for a, b in zip(answers, predictions, strict=False)),
        as_labelled=sum(a == b for a, b in zip(answers, labels, strict=False)),
    )


def load_requests(known: Any) -> list[Request]:
    """A request for each row of the load model, each of which knows its right answer."""
    pairs = zip(known["rows"], known["scores"], strict=True)
    return [
        json_request(payload(known["input"], [row]), wrong=expect(known["output"], scores)) for row, scores in pairs
    ]


def payload(name: str, rows: Sequence[Sequence[float]]) -> dict[str, Any]:
    """An Open Inference Protocol request of FP32 rows."""
    flat = [value for row in rows for value in row]
    return {"inputs": [{"name": name, "datatype": "FP32", "shape": [len(rows), len(rows[0])], "data": flat}]}


def output(body: bytes, name: str) -> list[Any]:
    """The data of one output of an answer."""
    outputs = {tensor["name"]: tensor["data"] for tensor in json.loads(body)["outputs"]}
    data: list[Any] = outputs[name]
    return data


def expect(name: str, scores: Sequence[float]) -> Callable[[bytes], str | None]:
    """A function that says what is wrong with an answer whose `name` should be `scores`."""

    def wrong(body: bytes) -> str | None:
        try:
            given = output(body, name)
        except (ValueError, KeyError, TypeError) as error:
            return f"not an answer: {type(error).__name__}: {error}"
        near = len(given) == len(scores) and all(abs(a - b) <= TOLERANCE for a, b in zip(given, scores, strict=True))
        return None if near else "the scores are not this row's"

    return wrong
