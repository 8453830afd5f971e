"""The limits of the ports, and how they are opened."""

import logging
from pathlib import Path
from typing import Final

from corefit_core.errors import ConfigError
from corefit_runtime.http.messages import HttpLimits
from corefit_runtime.http.server import Server
from corefit_runtime.process.agent import Agent
from corefit_runtime.settings.settings import Settings

log: Final = logging.getLogger(__name__)
ADMIN_CONNECTIONS: Final = 256
"""Open connections to the admin port. The serving port may have as many as --max-connections."""
ADMIN_BODY: Final = 65536
REFUSED_CONNECTION_AGE_S: Final = 1.0
"""Age from which a connection ends with a 503: its client connects anew, perhaps to a pod that has room. In an overload
each client does so once a second, and not for each request."""


def admin_limits(settings: Settings) -> HttpLimits:
    """Room for the questions of a kubelet, an operator and a few scrapers; their requests have no bodies."""
    return HttpLimits(
        max_body=ADMIN_BODY,
        max_body_memory=16 * ADMIN_BODY,
        max_header=settings.max_header,
        max_connections=min(ADMIN_CONNECTIONS, settings.max_connections),
        header_timeout_s=settings.header_timeout,
        body_timeout_s=settings.body_timeout,
        idle_timeout_s=settings.idle_timeout,
        pod_memory=settings.memory_limit or 0,
    )


def inference_limits(settings: Settings) -> HttpLimits:
    """What a client of the inference port may cost."""
    return HttpLimits(
        max_body=settings.max_body,
        max_body_memory=settings.max_body_memory,
        max_header=settings.max_header,
        max_connections=settings.max_connections,
        header_timeout_s=settings.header_timeout,
        body_timeout_s=settings.body_timeout,
        idle_timeout_s=settings.idle_timeout,
        connection_age_s=settings.connection_age,
        refused_connection_age_s=min(REFUSED_CONNECTION_AGE_S, settings.connection_age),
        pod_memory=settings.memory_limit or 0,
    )


async def open_admin(server: Server, settings: Settings) -> None:
    """Opens the admin port."""
    port = await server.start(settings.admin_host or settings.host, settings.admin_port)
    log.info("admin port %d", port)


async def open_control(server: Server, settings: Settings) -> None:
    """Opens the first of the control ports that is free.

    Raises:
        ConfigError: none is.
    """
    *preferred, last = settings.control_ports
    for port in preferred:
        try:
            log.info("control port %d", await server.start(settings.control_host, port))
        except OSError as error:
            log.warning(
                "control port %d can't be opened (%s): the kernel picks a free one", port, error.strerror or error
            )
        else:
            return
    try:
        log.info("control port %d", await server.start(settings.control_host, last))
    except OSError as error:
        where = f"--control-port {last} of {settings.control_host}"
        raise ConfigError(f"{where} can't be opened: {error.strerror or error}") from error


async def open_agent(agent: Agent, settings: Settings) -> None:
    """Opens the port that says how much this pod can take, where there is to be one."""
    if settings.agent_port >= 0:
        port = await agent.start(settings.admin_host or settings.host, settings.agent_port)
        log.info("agent port %d", port)


async def open_inference(server: Server, settings: Settings) -> None:
    """Opens the inference port, and the Unix socket where there is to be one."""
    if settings.socket:
        await server.start_unix(Path(settings.socket))
        log.info("inference socket %s", settings.socket)
    port = await server.start(settings.host, settings.port)
    log.info("inference port %d", port)
