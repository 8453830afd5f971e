"""The table of options: name, kind, default with its unit and reason, range. Data only."""

from dataclasses import dataclass
from typing import Final, Literal

from corefit_core import environment, naming

Kind = Literal["text", "flag", "int", "float", "bytes", "cpus", "rows", "choice"]


@dataclass(frozen=True, kw_only=True)
class Option:
    """One option and its environment variable."""

    field: str
    kind: Kind
    help: str
    default: str | None = None
    low: float = 0
    high: float = float("inf")
    choices: tuple[str, ...] = ()

    @property
    def flag(self) -> str:
        """The command line's name."""
        return "--" + self.field.replace("_", "-")

    @property
    def env(self) -> str:
        """The environment's name."""
        return environment.variable(self.field)

    @property
    def metavar(self) -> str:
        """What stands for the value in the help text."""
        return {"int": "N", "float": "X", "bytes": "SIZE", "cpus": "CORES", "rows": "auto|off|ROWS"}.get(
            self.kind, "|".join(self.choices) or "TEXT"
        )


OPTIONS: Final[tuple[Option, ...]] = (
    Option(field="model", kind="text", help="the model: a path, file:// or http(s):// URI of an .onnx file"),
    Option(field="model_sha256", kind="text", default="", help="the file's SHA-256; another file is refused"),
    Option(
        field="strict_checksum",
        kind="flag",
        default="false",
        help="refuse a SHA-256 of the .onnx file alone where its weights are in other files",
    ),
    Option(field="name", kind="text", default="model", help="the model's name in URLs and metrics"),
    Option(field="model_version", kind="text", default="1", help="the version that the protocol reports"),
    Option(
        field="model_dir",
        kind="text",
        default="/tmp/corefit-models",  # noqa: S108 - created 0700 by the store; the operator sets /models
        help="folder for downloaded models and calibration profiles",
    ),
    Option(
        field="credentials_dir",
        kind="text",
        default="",
        help="folder with token, or username and password, for the model's web server",
    ),
    Option(
        field="allow_link_local",
        kind="flag",
        default="false",
        help="let models come from link-local and cloud metadata addresses",
    ),
    Option(field="watch_model", kind="flag", default="false", help="reload a local model file when it changes"),
    Option(
        field="host",
        kind="text",
        default="::",
        help="address that both ports listen on; :: is every one, by IPv6 and IPv4",
    ),
    Option(field="admin_host", kind="text", default="", help="address of the admin port, when it is another"),
    Option(
        field="socket", kind="text", default="", help="path of a Unix socket that the protocol is served on as well"
    ),
    Option(field="port", kind="int", default=str(naming.PORT_HTTP), high=65535, help="port of the protocol"),
    Option(
        field="admin_port",
        kind="int",
        default=str(naming.PORT_ADMIN),
        high=65535,
        help="port of /livez, /readyz, /report and /metrics",
    ),
    Option(
        field="agent_port",
        kind="int",
        default="-1",
        low=-1,
        high=65535,
        help="port that says how much this pod can take, in HAProxy's agent protocol; -1 for none",
    ),
    Option(
        field="agent_full_millicores",
        kind="int",
        default="1000",
        low=1,
        high=10_000_000,
        help="CPU of a pod that can take 100 % by that port",
    ),
    Option(
        field="control_host",
        kind="text",
        default="127.0.0.1",
        help="address of /reload and /debug/, which change something: with another one others may do so",
    ),
    Option(
        field="control_port",
        kind="int",
        default="-1",
        low=-1,
        high=65535,
        help="their port; -1 is the one after the admin port where that is free, else any free one",
    ),
    Option(
        field="cpus",
        kind="cpus",
        default="",
        help="cores to size for, e.g. 2 or 1500m, when the cgroup does not say; never more than are granted",
    ),
    Option(
        field="cpu_request_millicores",
        kind="int",
        default="0",
        high=10_000_000,
        help="what the pod requests where its limit is more: the report then says whether the rest was there",
    ),
    Option(
        field="objective_ms",
        kind="float",
        default="100",
        low=0.01,
        high=3_600_000,
        help="latency objective, milliseconds: what can't be answered within it is refused at once",
    ),
    Option(
        field="percentile",
        kind="float",
        default="99",
        low=1,
        high=99.999,
        help="percent of the requests that the objective is for",
    ),
    Option(
        field="timeout_ms",
        kind="float",
        default="0",
        high=3_600_000,
        help="deadline of requests that bring none, milliseconds: past it the answer is 504; 0: none",
    ),
    Option(field="calibrate", kind="flag", default="true", help="measure the model's service time at start"),
    Option(
        field="calibrate_seconds",
        kind="float",
        default="5",
        low=0.1,
        high=600,
        help="upper bound of the calibration, seconds",
    ),
    Option(
        field="warm_up",
        kind="flag",
        default="true",
        help="run the model on made-up inputs before it serves, where there are no others",
    ),
    Option(
        field="calibration_inputs",
        kind="text",
        default="",
        help="inputs to measure the model with, as a JSON list of the protocol's tensors; made-up ones without",
    ),
    Option(
        field="assume_rows_independent",
        kind="flag",
        default="false",
        help="cut and join requests even where the model's graph does not prove that rows are independent; "
        "it is still measured at start and checked in service",
    ),
    Option(
        field="chunk_rows",
        kind="rows",
        default="auto",
        low=1,
        high=1_000_000,
        help="rows of one run when a large request is cut; only models whose rows are independent are cut",
    ),
    Option(
        field="chunk_ms",
        kind="float",
        default="10",
        low=0.1,
        high=60_000,
        help="target length of one run, milliseconds, for chunk and batch sizes that are auto",
    ),
    Option(
        field="batch_rows",
        kind="rows",
        default="auto",
        low=1,
        high=4096,
        help="rows up to which waiting requests are joined; only models whose rows are independent are joined",
    ),
    Option(
        field="batch_delay_ms",
        kind="float",
        default="0",
        high=10_000,
        help="how long a batch waits to fill, milliseconds; 0 joins only what is waiting already",
    ),
    Option(
        field="drain_seconds",
        kind="float",
        default="5",
        high=3600,
        help="after SIGTERM, how long new requests are still taken, since endpoint removal runs in parallel",
    ),
    Option(
        field="grace_seconds",
        kind="float",
        default="25",
        high=7200,
        help="after SIGTERM, when the process exits at the latest; below the pod's 30 s grace period",
    ),
    Option(field="pod_uid", kind="text", default="", help="the pod's metadata.uid, for the report"),
    Option(
        field="memory",
        kind="bytes",
        default="0",
        help="memory of the container: bounds models, bodies and what runs of the model allocate; 0: by the cgroup",
    ),
    Option(field="max_body", kind="bytes", default="64Mi", low=1, help="largest body, also after decompression"),
    Option(
        field="max_body_memory",
        kind="bytes",
        default="256Mi",
        low=1,
        help="bytes that bodies and unsent answers may hold at most; no more than a third of what the model leaves",
    ),
    Option(
        field="max_header",
        kind="bytes",
        default="16Ki",
        low=256,
        high=65536,
        help="largest request head; it has to fit into the 64 KiB that one read takes",
    ),
    Option(field="max_tensors", kind="int", default="64", low=1, high=4096, help="most tensors in one request"),
    Option(
        field="max_json_depth",
        kind="int",
        default="32",
        low=4,
        high=500,
        help="how deeply JSON may be nested: 3 of its own and a tensor's 16 dimensions at most",
    ),
    Option(field="max_connections", kind="int", default="2048", low=1, help="most open connections a port"),
    Option(field="header_timeout", kind="float", default="10", low=0.05, help="seconds to send a head"),
    Option(field="body_timeout", kind="float", default="60", low=0.05, help="seconds to send a body"),
    Option(
        field="idle_timeout",
        kind="float",
        default="90",
        low=0.05,
        help="seconds a kept connection may stay idle; above the 60 s of common proxies, which reuse it",
    ),
    Option(
        field="connection_age",
        kind="float",
        default="60",
        low=0.05,
        help="seconds, a tenth more or less, after which a connection ends with its next answer: a Service picks a pod "
        "for each connection, so that clients that never close theirs would use no pod that came later",
    ),
    Option(
        field="log_level",
        kind="choice",
        default="info",
        choices=("debug", "info", "warning", "error"),
        help="least severe level that is logged",
    ),
    Option(
        field="log_format",
        kind="choice",
        default="json",
        choices=("json", "text"),
        help="one JSON object a line, or text for people",
    ),
    Option(field="access_log", kind="flag", default="false", help="log every request"),
    Option(field="debug", kind="flag", default="false", help="serve /debug/ on the control port"),
)
