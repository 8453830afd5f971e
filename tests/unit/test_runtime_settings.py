import importlib.metadata
import subprocess
import sys

import pytest

from corefit_core.errors import ConfigError
from corefit_runtime import __version__
from corefit_runtime.settings import options, settings


def test_an_option_wins_over_its_variable_and_that_over_the_default() -> None:
    given = settings.load(["--model", "m.onnx", "--port", "1"], {"COREFIT_PORT": "2", "COREFIT_ADMIN_PORT": "3"})
    assert (given.port, given.admin_port, given.objective_ms) == (1, 3, 100.0)


def test_everything_can_come_from_the_environment() -> None:
    given = settings.load([], {"COREFIT_MODEL": "m.onnx", "COREFIT_DEBUG": "true", "COREFIT_CPUS": "1500m"})
    assert (given.model, given.debug, given.cpus) == ("m.onnx", True, 1500)


def test_a_checksum_need_not_cover_all_files_unless_a_variable_or_an_option_says_so() -> None:
    assert settings.load(["--model", "m"], {}).strict_checksum is False
    assert settings.load(["--model", "m"], {"COREFIT_STRICT_CHECKSUM": "true"}).strict_checksum is True
    assert settings.load(["--model", "m", "--strict-checksum"], {}).strict_checksum is True


def test_an_empty_variable_is_as_none() -> None:
    assert settings.load([], {"COREFIT_MODEL": "m", "COREFIT_PORT": ""}).port == 8080


@pytest.mark.parametrize(
    ("argv", "named"),
    [
        ([], "--model"),
        (["--model", "m", "--port", "65536"], "--port"),
        (["--model", "m", "--port", "http"], "--port"),
        (["--model", "m", "--objective-ms", "0"], "--objective-ms"),
        (["--model", "m", "--objective-ms", "nan"], "--objective-ms"),
        (["--model", "m", "--cpus", "-1"], "--cpus"),
        (["--model", "m", "--cpus", "0"], "--cpus"),
        (["--model", "m", "--cpus", "50m"], "at least 100m"),
        (["--model", "m", "--max-body", "big"], "--max-body"),
        (["--model", "m", "--chunk-rows", "some"], "--chunk-rows"),
        (["--model", "m", "--log-level", "loud"], "--log-level"),
        (["--model", "m", "--port", "9", "--admin-port", "9"], "--admin-port"),
        (["--model", "m", "--port", "10", "--admin-port", "9", "--control-port", "10"], "--control-port"),
        (["--model", "m", "--admin-port", "9", "--control-port", "9"], "--control-port"),
        (["--model", "m", "--drain-seconds", "30"], "--drain-seconds"),
        (["--model", "m", "--max-body", "1Gi"], "--max-body"),
        (["--model", "m", "--socket", "/" + "x" * 107], "--socket"),
    ],
)
def test_a_wrong_value_is_refused_with_the_option_that_it_belongs_to(argv: list[str], named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        settings.load(argv, {})


@pytest.mark.parametrize(
    ("argv", "ports"),
    [
        ([], (8082, 0)),
        (["--control-port", "9000"], (9000,)),
        (["--admin-port", "9", "--port", "10"], (0,)),
        (["--admin-port", "65535"], (0,)),
        (["--admin-port", "0"], (0,)),
    ],
)
def test_the_control_port_is_the_one_named_or_the_one_after_the_admin_port_or_a_free_one(
    argv: list[str], ports: tuple[int, ...]
) -> None:
    assert settings.load(["--model", "m", *argv], {}).control_ports == ports


def test_a_wrong_variable_is_refused_with_its_name() -> None:
    with pytest.raises(ConfigError, match="COREFIT_PORT"):
        settings.load(["--model", "m"], {"COREFIT_PORT": "tcp://10.0.0.1:80"})


@pytest.mark.parametrize(
    "option", [o for o in options.OPTIONS if o.kind != "text"], ids=lambda option: str(option.field)
)
def test_every_option_refuses_rubbish_from_either_side_and_names_itself(option: options.Option) -> None:
    wrong = [] if option.kind == "flag" else [f"{option.flag}=rubbish"]
    for argv, environ in ((wrong, {}), ([], {option.env: "rubbish"})):
        if argv or environ:
            with pytest.raises(ConfigError, match=rf"{option.flag} \(or {option.env}\) is 'rubbish'"):
                settings.load(["--model", "m", *argv], environ)


def test_every_option_has_a_setting_and_a_help_text() -> None:
    assert {o.field for o in options.OPTIONS} == set(settings.Settings.__annotations__)
    assert all(o.help for o in options.OPTIONS)


def test_the_version_is_that_of_the_distribution() -> None:
    assert importlib.metadata.version("corefit-runtime") == __version__


def test_the_admin_port_opens_without_what_only_serving_needs() -> None:
    code = "import sys, corefit_runtime.main; print(*sys.modules)"
    loaded = set(
        subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()
    )
    assert not loaded & {"numpy", "onnxruntime", "prometheus_client", "http.client", "importlib.metadata", "aiohttp"}
