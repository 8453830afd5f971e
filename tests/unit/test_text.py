"""Text from outside stays one line of a log."""

import io
import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corefit_core.text import one_line
from corefit_operator.process.logs import OneLineFormatter
from corefit_runtime.http.messages import parse_head
from corefit_runtime.process import logs
from corefit_runtime.process.logs import JsonFormatter, TextFormatter


@given(st.text())
def test_a_line_is_printable_and_keeps_what_was(text: str) -> None:
    line = one_line(text)
    assert line.isprintable()
    assert len(line.splitlines()) <= 1
    assert (line == text) == text.isprintable()


def test_escapes_are_those_of_python() -> None:
    assert one_line("a\nb\x1b[31m\u202e\x9b é 模") == r"a\nb\x1b[31m\u202e\x9b é 模"


@pytest.mark.parametrize("form", ["text", "json"])
def test_a_path_forges_no_line_of_the_access_log(form: str, capsys: pytest.CaptureFixture[str]) -> None:
    """`%0a` in a path began a line of its own, and `%1b` reached the terminal."""
    head = parse_head(b"GET /a%0a2026-01-01%20INFO%20x:%20forged%1b[2J%c2%9b HTTP/1.1\r\nHost: a\r\n\r\n")
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    try:
        logs.configure("info", form)
        logs.access(head, 200, 0.001)
    finally:
        root.handlers[:] = before
        root.setLevel(level)
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert said.rstrip("\n").isprintable()


@pytest.mark.parametrize("formatter", [TextFormatter(), JsonFormatter(), OneLineFormatter()])
def test_no_line_of_a_traceback_looks_like_one_of_the_log(formatter: logging.Formatter) -> None:
    stream = io.StringIO()
    logger = logging.Logger("test")  # noqa: LOG001 - of this test alone
    handler = logging.StreamHandler(stream)
    handler.setFormatter(formatter)
    logger.addHandler(handler)
    try:
        int("a\n2026-01-01 00:00:00,000 INFO corefit: forged\x1b[2J")
    except ValueError:
        logger.exception("failed")
    _first, *rest = stream.getvalue().splitlines()
    assert all(line.startswith("    ") and line.isprintable() for line in rest)
