"""The settings of the process as one typed, checked value, from options and environment variables.

An option wins over its variable (`--objective-ms` over `COREFIT_OBJECTIVE_MS`); a wrong value is refused with
the option's name before anything starts. May not read anything but the argv and the environment it is given.
"""

import argparse
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final, Literal, cast

from corefit_core.environment import Variable
from corefit_core.errors import ConfigError, InvalidInput
from corefit_core.quantity import parse_bytes, parse_millicores
from corefit_core.sizing import MIN_MILLICORES
from corefit_runtime.memory import container
from corefit_runtime.models.access import Access
from corefit_runtime.settings import options
from corefit_runtime.settings.options import Option

HIGHEST_PORT: Final = 65535
SOCKET_PATH_MAX: Final = 107
"""Bytes: `sun_path` of unix(7) less the zero at its end."""
Mode = Literal["auto", "off"]


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Checked settings; the unit is in the name. `help` texts and defaults are in `options`."""

    model: str
    model_sha256: str
    strict_checksum: bool
    name: str
    model_version: str
    model_dir: str
    credentials_dir: str
    allow_link_local: bool
    watch_model: bool
    host: str
    admin_host: str
    socket: str
    port: int
    admin_port: int
    agent_port: int
    agent_full_millicores: int
    control_host: str
    control_port: int
    cpus: int | None
    cpu_request_millicores: int
    objective_ms: float
    percentile: float
    timeout_ms: float
    calibrate: bool
    warm_up: bool
    calibrate_seconds: float
    calibration_inputs: str
    assume_rows_independent: bool
    chunk_rows: Mode | int
    chunk_ms: float
    batch_rows: Mode | int
    batch_delay_ms: float
    drain_seconds: float
    grace_seconds: float
    pod_uid: str
    memory: int
    max_body: int
    max_body_memory: int
    max_header: int
    max_tensors: int
    max_json_depth: int
    max_connections: int
    header_timeout: float
    body_timeout: float
    idle_timeout: float
    connection_age: float
    log_level: str
    log_format: str
    access_log: bool
    debug: bool

    @property
    def control_ports(self) -> tuple[int, ...]:
        """Ports for the control port, best first; 0 for a free one.

        A port that the user names is the only one. The one after the admin port may belong to somebody else, such as an
        application in the same pod, and must not keep the model from being served.
        """
        if self.control_port >= 0:
            return (self.control_port,)
        following = self.admin_port + 1
        usable = self.admin_port and following <= HIGHEST_PORT and following != self.port
        return (following, 0) if usable else (0,)

    @property
    def objective_s(self) -> float:
        """The latency objective in seconds."""
        return self.objective_ms / 1000

    @property
    def access(self) -> Access:
        """What a fetch of the model may reach, and with which credentials."""
        folder = Path(self.credentials_dir) if self.credentials_dir else None
        return Access(link_local=self.allow_link_local, credentials=folder, max_bytes=self.memory_limit)

    @property
    def memory_limit(self) -> int | None:
        """Bytes of memory that the pod may use: as set, or as its container has them; None where there is no limit."""
        return self.memory or container.memory_limit()


def load(argv: Sequence[str], environ: Mapping[str, str]) -> Settings:
    """The settings from options and environment.

    Raises:
        ConfigError: a value is missing, malformed or out of range; the message names option and variable.
    """
    given = vars(_parser().parse_args(argv))
    values = {o.field: _value(o, given[o.field], environ) for o in options.OPTIONS}
    settings = Settings(**cast("dict[str, Any]", values))
    _check_together(settings)
    return settings


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="corefit-runtime",
        description="Serves an ONNX model over the Open Inference Protocol v2, within the cores it is granted.",
        epilog=f"Every option is an environment variable as well: --objective-ms is {Variable.OBJECTIVE_MS}.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    for option in options.OPTIONS:
        default = "" if option.default is None else f" (default: {option.default})"
        text = (option.help + default).replace("%", "%%")
        if option.kind == "flag":
            parser.add_argument(option.flag, dest=option.field, action=argparse.BooleanOptionalAction, help=text)
        else:
            parser.add_argument(option.flag, dest=option.field, metavar=option.metavar, help=text)
    return parser


def _value(option: Option, given: object, environ: Mapping[str, str]) -> object:
    raw = given if given is not None else (environ.get(option.env) or option.default)
    if raw is None:
        raise ConfigError(f"{option.flag} (or {option.env}) is missing: {option.help}")
    try:
        return _convert(option, raw)
    except (ValueError, InvalidInput) as error:
        raise ConfigError(f"{option.flag} (or {option.env}) is {raw!r}: {error}") from error


def _convert(option: Option, raw: object) -> object:
    text = str(raw).strip()
    if option.kind == "choice" and text not in option.choices:
        raise ValueError(f"it must be one of {', '.join(option.choices)}")
    if option.kind in {"text", "choice"} or (option.kind == "rows" and text in {"auto", "off"}):
        return text
    if option.kind == "flag":
        return _flag(raw)
    if option.kind == "cpus":
        return _cpus(text) if text else None
    return _within(option, _NUMBER[option.kind](text))


def _cpus(text: str) -> int:
    millicores = parse_millicores(text)
    if millicores < MIN_MILLICORES:
        raise ValueError(f"the runtime needs at least {MIN_MILLICORES}m")
    return millicores


def _flag(raw: object) -> bool:
    if isinstance(raw, bool):
        return raw
    text = str(raw).strip().lower()
    if text not in {"1", "0", "true", "false", "yes", "no", "on", "off"}:
        raise ValueError("it must be true or false")
    return text in {"1", "true", "yes", "on"}


def _rows(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ValueError("it must be auto, off, or a number of rows") from None


_NUMBER: Final[dict[str, Callable[[str], float]]] = {
    "int": int,
    "float": float,
    "bytes": parse_bytes,
    "rows": _rows,
}


def _within(option: Option, value: float) -> float:
    if math.isnan(value) or not option.low <= value <= option.high:
        raise ValueError(f"it must lie between {option.low:g} and {option.high:g}")
    return value


def _check_together(settings: Settings) -> None:
    if settings.port == settings.admin_port and settings.port != 0:
        raise ConfigError(f"--port and --admin-port are both {settings.port}: they need a port each")
    if settings.control_port > 0 and settings.control_port in (settings.port, settings.admin_port):
        raise ConfigError(f"--control-port is {settings.control_port}, as another port is: each needs one of its own")
    if settings.drain_seconds >= settings.grace_seconds:
        raise ConfigError(
            f"--drain-seconds is {settings.drain_seconds:g}: it must be below --grace-seconds "
            f"({settings.grace_seconds:g}), or what is held can't be finished"
        )
    if settings.max_body > settings.max_body_memory:
        raise ConfigError("--max-body is larger than --max-body-memory: no such request could ever be read")
    if len(settings.socket.encode()) > SOCKET_PATH_MAX:
        raise ConfigError(
            f"--socket is longer than the {SOCKET_PATH_MAX} bytes that the kernel takes: {settings.socket}"
        )
    if len(fields(Settings)) != len(options.OPTIONS):
        raise ConfigError("options and settings differ: this is a fault in Corefit")
