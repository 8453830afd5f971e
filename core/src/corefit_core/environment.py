"""The environment variables of the runtime: the contract between the manifests and the process, named here only.

The runtime names each of its settings after a field (`objective_ms`); the variable is `PREFIX` and that field in
capital letters. `Variable` lists those that manifests set. Pure. May not know what a value means.
"""

from enum import StrEnum
from typing import Final

PREFIX: Final = "COREFIT_"
"""Of every variable of Corefit's; a resource may not set variables of its own with it."""


def variable(setting: str) -> str:
    """The variable of a setting of the runtime."""
    return PREFIX + setting.upper()


class Variable(StrEnum):
    """The variables that manifests set in the runtime's container, and in an application's (URL, SOCKET)."""

    MODEL = variable("model")
    MODEL_SHA256 = variable("model_sha256")
    STRICT_CHECKSUM = variable("strict_checksum")
    NAME = variable("name")
    MODEL_DIR = variable("model_dir")
    CREDENTIALS_DIR = variable("credentials_dir")
    ALLOW_LINK_LOCAL = variable("allow_link_local")
    HOST = variable("host")
    ADMIN_HOST = variable("admin_host")
    SOCKET = variable("socket")
    PORT = variable("port")
    ADMIN_PORT = variable("admin_port")
    AGENT_PORT = variable("agent_port")
    AGENT_FULL_MILLICORES = variable("agent_full_millicores")
    CPU_REQUEST_MILLICORES = variable("cpu_request_millicores")
    OBJECTIVE_MS = variable("objective_ms")
    PERCENTILE = variable("percentile")
    CALIBRATE = variable("calibrate")
    WARM_UP = variable("warm_up")
    CALIBRATION_INPUTS = variable("calibration_inputs")
    DRAIN_SECONDS = variable("drain_seconds")
    POD_UID = variable("pod_uid")
    MEMORY = variable("memory")
    URL = variable("url")
