"""What the admin port shows of a process, without the rest of it."""

from corefit_runtime.admin.endpoints import AdminApi
from corefit_runtime.admin.report import Reporter
from corefit_runtime.grant.cgroups import Cgroup
from corefit_runtime.serving.readiness import Readiness
from corefit_runtime.serving.servable import Published
from corefit_runtime.settings import settings
from corefit_runtime.telemetry.attention import Attention
from corefit_runtime.telemetry.cpu import CpuMeter
from corefit_runtime.telemetry.meter import Meter

SETTINGS = settings.load(["--model", "m.onnx"], {})


class Process:
    """What the admin port shows of a process, without the rest of it."""

    def __init__(self, cgroup: Cgroup | None = None) -> None:
        self.readiness = Readiness()
        self.attention = Attention(SETTINGS.objective_s)
        cpu = CpuMeter(cgroup or Cgroup([], str), 0)
        self.reporter = Reporter(SETTINGS, self.readiness, Published(), Meter(), cpu)

    def api(self) -> AdminApi:
        return AdminApi(self.readiness, self.reporter, self.attention)
