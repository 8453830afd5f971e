"""What serves requests, put together: pool, lifecycle, data plane, inference port.

Imports numpy and onnxruntime, 0.3 s of CPU: for a thread, after the admin port is up.
"""

import asyncio
import logging
from typing import Final

from corefit_core.batching import Line
from corefit_runtime.concurrency.offload import Offload
from corefit_runtime.dataplane.data_plane import DataPlane
from corefit_runtime.engine import registry
from corefit_runtime.http.messages import error_body
from corefit_runtime.http.server import Server
from corefit_runtime.memory.buffers import BufferPool
from corefit_runtime.pool.limits import Limits
from corefit_runtime.pool.pool import Pool
from corefit_runtime.process import logs, ports
from corefit_runtime.rest.api import InferenceApi
from corefit_runtime.rest.headers import HEADER_LENGTH
from corefit_runtime.serving.lifecycle import ModelLifecycle
from corefit_runtime.serving.readiness import Readiness
from corefit_runtime.serving.servable import Published
from corefit_runtime.settings.settings import Settings
from corefit_runtime.telemetry.attention import Attention
from corefit_runtime.telemetry.meter import Meter

log: Final = logging.getLogger(__name__)
NOTHING: Final = Limits(workers=1, depth=1, objective_s=1, line=Line(a=1, b=1), chunk=0, batch=0)
"""Of a pool that has no plan yet."""


class Inference:
    """See the module.

    Attributes:
        pool: runs requests.
        lifecycle: brings the model into service.
        plane: answers requests, whatever brings them.
        server: the inference port, not open yet.
    """

    def __init__(
        self,
        settings: Settings,
        published: Published,
        readiness: Readiness,
        meter: Meter,
        attention: Attention,
        *,
        doubt: str,
    ) -> None:
        loop = asyncio.get_running_loop()
        registry.prepare()
        self._settings = settings
        self._published = published
        self.pool = Pool(loop, meter, NOTHING, delay_s=settings.batch_delay_ms / 1000)
        self.pool.on_queued = attention.queued
        self.lifecycle = ModelLifecycle(settings, published, readiness, self.pool, doubt=doubt)
        self.lifecycle.on_loaded = self._bound_memory
        self.plane = DataPlane(
            settings, published, readiness, self.pool, Offload(loop), meter=meter, attention=attention
        )
        api = InferenceApi(self.plane, name=settings.name, version=settings.model_version)
        self.server = Server(
            api,
            ports.inference_limits(settings),
            error_body=error_body,
            allocate=BufferPool(),
            align_header=HEADER_LENGTH,
            refused=meter.refused,
            refusal=api.refusal,
            access=logs.access if settings.access_log else None,
        )

    def _bound_memory(self) -> None:
        """Bodies and answers hold no more than their share of what the model has left of the container's memory."""
        most, servable = self._settings.max_body_memory, self._published.servable
        shares = servable.model.engine.shares if servable is not None else None
        if shares is not None:
            most = min(most, shares.bodies)
            log.info("runs of the model may allocate %d MiB", shares.runs >> 20)
        self.server.memory.limit = most
        self.plane.bound_memory(most)
        log.info("bodies and unsent answers may hold %d MiB", most >> 20)
