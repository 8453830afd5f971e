"""Names the pods' port `http`, so that the Service finds it in old and new pods, whatever its number. Does no I/O.

A Service whose targetPort is a number sends to that number in every pod, in those of before too, which listen
elsewhere until they are replaced. One whose targetPort is a name sends to what each pod calls so.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from corefit_core.manifest import Manifest
from corefit_core.naming import PORT_NAME

_TCP = "TCP"


def named(containers: Sequence[Mapping[str, Any]], number: int) -> list[Manifest] | None:
    """An application's containers, one of which calls its port by the name that the Service asks for.

    Only what is declared changes, which nothing but the finding of ports looks at. Preferred is the container that
    declares the port already.

    Returns:
        None where that can't be: the name is another port's, or the port has another name wherever it could get ours.
    """
    if any(_ports(container) is None for container in containers):
        return None  # refused by the API server, which says so better
    holders = [port for container in containers for port in _ports(container) or () if _is_http(port)]
    if holders:
        return [dict(container) for container in containers] if holders[0].get("containerPort") == number else None
    free = [i for i, container in enumerate(containers) if not _calls(container, number)]
    if not free:
        return None
    chosen = next((i for i in free if _declares(containers[i], number)), free[0])
    return [_declared(c, number) if i == chosen else dict(c) for i, c in enumerate(containers)]


def _ports(container: Mapping[str, Any]) -> list[Mapping[str, Any]] | None:
    """What a container declares; None where it is no list of ports."""
    ports = container.get("ports") or []
    return ports if isinstance(ports, list) and all(isinstance(port, Mapping) for port in ports) else None


def _is_http(port: Mapping[str, Any]) -> bool:
    return port.get("name") == PORT_NAME and port.get("protocol", _TCP) == _TCP


def _entries(container: Mapping[str, Any], number: int) -> list[Mapping[str, Any]]:
    ports = _ports(container) or []
    return [p for p in ports if p.get("containerPort") == number and p.get("protocol", _TCP) == _TCP]


def _declares(container: Mapping[str, Any], number: int) -> bool:
    return bool(_entries(container, number))


def _calls(container: Mapping[str, Any], number: int) -> bool:
    """Whether a container has a name for the port, or uses ours for something else: names are its own."""
    taken = any(port.get("name") == PORT_NAME for port in _ports(container) or ())
    return taken or any(entry.get("name") for entry in _entries(container, number))


def _declared(container: Mapping[str, Any], number: int) -> Manifest:
    declared, ports = {"name": PORT_NAME, "containerPort": number, "protocol": _TCP}, _ports(container) or []
    entries = _entries(container, number)
    if not entries:
        return {**container, "ports": [*ports, declared]}
    return {**container, "ports": [{**port, **declared} if port is entries[0] else port for port in ports]}
