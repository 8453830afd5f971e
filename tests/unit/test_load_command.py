"""`corefit load`: what it accepts, what it prints, how it exits."""

import asyncio
import io
import json
import re
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from rich.console import Console
from unit.sites import served

from corefit.load import Kind, Recorder, Step, progress
from corefit.load.command import parse_duration
from corefit.load.generator import Sender
from corefit.load.record import Sample
from corefit.main import main
from corefit_core.errors import InvalidInput


class Server(ThreadingHTTPServer):
    request_queue_size = 128  # connections that may come while nobody accepts one: a whole load of the tests'


class Handler(BaseHTTPRequestHandler):
    status = 200

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(self.status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        pass


@pytest.fixture
def server() -> Iterator[tuple[str, type[Handler]]]:
    handler = type("OneTest", (Handler,), {})
    with served(Server(("127.0.0.1", 0), handler)) as origin:
        yield f"{origin}/v2/models/m/infer", handler


@pytest.fixture
def body(tmp_path: Path) -> str:
    path = tmp_path / "request.json"
    path.write_text('{"inputs": []}')
    return str(path)


@pytest.mark.parametrize(("text", "seconds"), [("30", 30), ("30s", 30), ("2m", 120), ("500ms", 0.5), ("1h", 3600)])
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "s", "3x", "0", "-1s", "1s2", "1sm", "nan", "nans", "inf", "1e999s"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(InvalidInput, match="duration"):
        parse_duration(text)


def test_figures_as_json(server: tuple[str, type[Handler]], body: str, capsys: pytest.CaptureFixture[str]) -> None:
    url, _ = server
    assert (
        main(
            [
                "load",
                url,
                "--rate",
                "50,100",
                "--duration",
                "200ms",
                "--even",
                "--body",
                body,
                "--json",
                "--timeout",
                "60s",
            ]
        )
        == 0
    )
    figures = json.loads(capsys.readouterr().out)
    assert figures["ok"] == figures["sent"] > 20
    assert figures["p99_s"] > 0


def test_lost_requests_make_it_fail(
    server: tuple[str, type[Handler]], body: str, capsys: pytest.CaptureFixture[str]
) -> None:
    url, handler = server
    handler.status = 500
    assert main(["load", url, "--rate", "50", "--duration", "200ms", "--body", body]) == 1
    assert "status 500" in capsys.readouterr().out


def test_a_machine_that_is_short_of_cpu_is_said_to_be(
    server: tuple[str, type[Handler]], body: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It said that requests were lost, and nothing of the machine whose doing that was."""
    url, handler = server
    handler.status = 500
    until = Sender.until

    async def late(self: Sender, at_s: float) -> None:
        await until(self, at_s)
        time.sleep(0.05)  # noqa: ASYNC251 - nobody else runs meanwhile: that is what it is for

    monkeypatch.setattr(Sender, "until", late)
    assert main(["load", url, "--rate", "20", "--duration", "300ms", "--even", "--body", body]) == 1
    said = capsys.readouterr().err
    assert re.search(r"this machine is short of CPU.* ms late .*the \d+ lost requests may be its own doing", said)


def test_misuse_is_explained(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    url = "http://127.0.0.1:9/v2/models/m/infer"
    assert main(["load", url, "--rate", "1", "--body", str(tmp_path / "none.json")]) == 2
    assert "none.json" in capsys.readouterr().err
    assert main(["load", url, "--rate", "1"]) == 2
    assert "no model metadata" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["load", url, "--rate", "fast"])
    assert "is not a rate" in capsys.readouterr().err


@pytest.mark.parametrize("rate", ["nan", "inf", "-1", "1e6", "20,nan", "0", "0,0"])
def test_a_rate_that_can_not_be_kept_is_refused(capsys: pytest.CaptureFixture[str], rate: str) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["load", "http://127.0.0.1:9/v2/models/m/infer", f"--rate={rate}"])
    assert ended.value.code == 2
    assert "--rate" in capsys.readouterr().err


def test_a_pause_between_rates_is_a_rate_of_zero(server: tuple[str, type[Handler]], body: str) -> None:
    url, _ = server
    assert (
        main(["load", url, "--rate", "20,0,20", "--duration", "200ms", "--even", "--body", body, "--timeout", "60s"])
        == 0
    )


def test_a_run_that_sent_nothing_is_no_success(body: str, capsys: pytest.CaptureFixture[str]) -> None:
    url = "http://127.0.0.1:9/v2/models/m/infer"
    assert main(["load", url, "--rate", "0.001", "--duration", "10ms", "--even", "--body", body]) == 1
    assert "no request was due" in capsys.readouterr().err


@pytest.mark.parametrize("terminal", [True, False])
async def test_a_run_shows_how_far_it_is(monkeypatch: pytest.MonkeyPatch, terminal: bool) -> None:
    """A run of minutes said nothing until its end."""
    monkeypatch.setattr(progress, "TERMINAL_S", 0.01)
    monkeypatch.setattr(progress, "LOG_S", 0.01)
    shown = io.StringIO()
    recorder, steps = Recorder(), [Step(rate=8, duration_s=60), Step(rate=32, duration_s=60)]
    recorder.add(Sample(intended_s=0.0, sent_s=0.0, done_s=0.01, kind=Kind.OK))
    recorder.add(Sample(intended_s=0.0, sent_s=0.0, done_s=0.01, kind=Kind.SHED))
    async with progress.shown(recorder, steps, Console(file=shown, force_terminal=terminal, width=200)):
        while "1 answered, 1 refused, 0 lost" not in shown.getvalue():  # noqa: ASYNC110 - a buffer has no event
            await asyncio.sleep(0.01)
    assert "0 of 120 s, 8 requests a second" in shown.getvalue()
    assert "p99 of the last 2 s 10.0 ms" in shown.getvalue()


def test_the_end_of_a_run_is_a_wait_for_answers() -> None:
    recorder = Recorder()
    recorder.in_flight = 3
    assert progress.line(recorder, [Step(rate=8, duration_s=60)], 61.0).startswith("waiting for 3 answers: 0 answered")
    assert "60 s, 32 requests" in progress.line(recorder, [Step(rate=32, duration_s=60)], 30.0)


def test_progress_leaves_standard_output_to_the_figures(
    monkeypatch: pytest.MonkeyPatch,
    server: tuple[str, type[Handler]],
    body: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(progress, "LOG_S", 0.02)
    assert main(["load", server[0], "--rate", "20", "--duration", "2s", "--body", body, "--json"]) == 0
    said = capsys.readouterr()
    json.loads(said.out)
    assert "requests a second" in said.err
