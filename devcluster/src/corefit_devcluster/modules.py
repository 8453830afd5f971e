"""Files that Go modules hold beside their programs, such as CRDs: fetched by Go as pinned in go/, and never built."""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from corefit_devcluster.errors import BuildError, DevclusterError
from corefit_devcluster.paths import Home
from corefit_devcluster.progress import Reporter
from corefit_devcluster.run import run
from corefit_devcluster.toolchain import PINS, find_go


@dataclass(frozen=True)
class Module:
    """A module.

    Attributes:
        name: the folder below go/ that pins it.
        path: the module's.
        folder: in it, with the files that are wanted.
    """

    name: str
    path: str
    folder: str


PROMETHEUS_OPERATOR = Module(
    "prometheus-operator",
    "github.com/prometheus-operator/prometheus-operator",
    "example/prometheus-operator-crd",
)
MODULES: Sequence[Module] = (PROMETHEUS_OPERATOR,)


def fetch(module: Module, home: Home, reporter: Reporter) -> Path:
    """The folder with the module's files, in the cache that Go keeps of modules and holds against go.sum."""
    go = find_go(home.cache, reporter)
    # Variables that decide the outcome, so that the caller's own cannot.
    environment = {**os.environ, "GOFLAGS": "", "GOWORK": "off"}
    with reporter.step(f"Fetching the files of {module.name}"):
        try:
            said = run([go, "mod", "download", "-json", module.path], cwd=PINS / module.name, env=environment)
        except DevclusterError as error:
            raise BuildError(
                f"cannot get the files of {module.name}: {error}",
                hint="Go fetches modules from GOPROXY: check that this machine reaches it.",
            ) from error
    return Path(json.loads(said)["Dir"]) / module.folder
