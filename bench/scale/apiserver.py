"""etcd and a kube-apiserver on loopback, and nothing else of a cluster: what is in it is what the bench puts there."""

import base64
import json
import ssl
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import yaml

from corefit_devcluster.control_plane import ControlPlane


class Api:
    """Plain JSON requests to the API server."""

    def __init__(self, session: aiohttp.ClientSession, server: str) -> None:
        self._session = session
        self._server = server

    async def send(self, method: str, path: str, body: Any = None, kind: str = "application/json") -> Any:
        """The decoded answer; what isn't a success is raised."""
        data = None if body is None else json.dumps(body)
        headers = {"Content-Type": kind}
        async with self._session.request(method, f"{self._server}/{path}", data=data, headers=headers) as answer:
            text = await answer.text()
            if answer.status >= 400:
                raise RuntimeError(f"{method} {path}: {answer.status} {text[:300]}")
            return json.loads(text)

    async def watch(self, path: str, query: str) -> AsyncGenerator[Any, None]:
        """The objects of the events of a watch."""
        limits = aiohttp.ClientTimeout(total=None)
        async with self._session.get(f"{self._server}/{path}?watch=1&{query}", timeout=limits) as answer:
            async for line in answer.content:
                yield json.loads(line)["object"]


@asynccontextmanager
async def connected(plane: ControlPlane, folder: Path) -> AsyncIterator[Api]:
    """The API server, with the rights to do everything."""
    user = yaml.safe_load(plane.user("bench").read_text())["users"][0]["user"]
    context = ssl.create_default_context(cafile=str(folder / "ca.crt"))
    files = []
    for part in ("client-certificate", "client-key"):
        files.append(folder / part)
        files[-1].write_bytes(base64.b64decode(user[f"{part}-data"]))
    context.load_cert_chain(*files)
    connector = aiohttp.TCPConnector(limit=64, ssl=context)
    async with aiohttp.ClientSession(connector=connector, read_bufsize=1 << 20) as session:
        yield Api(session, plane.server)
