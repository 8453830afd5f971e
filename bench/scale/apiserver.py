"""etcd and a kube-apiserver on loopback, and nothing else of a cluster: what is in it is what the bench puts there."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

HOST, PORT, TOKEN = "127.0.0.1", 6443, "bench"
URL = f"https://{HOST}:{PORT}"


class Api:
    """Plain JSON requests to the API server."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session

    async def send(self, method: str, path: str, body: Any = None, kind: str = "application/json") -> Any:
        """The decoded answer; what isn't a success is raised."""
        headers = {"Content-Type": kind, "Authorization": f"Bearer {TOKEN}"}
        data = None if body is None else json.dumps(body)
        async with self._session.request(method, f"{URL}/{path}", data=data, headers=headers, ssl=False) as answer:
            text = await answer.text()
            if answer.status >= 400:
                raise RuntimeError(f"{method} {path}: {answer.status} {text[:300]}")
            return json.loads(text) if text.startswith("{") else text


@asynccontextmanager
async def control_plane(folder: Path, etcd: str, apiserver: str) -> AsyncIterator[Api]:
    """Both programs, ended with the block."""
    key = folder / "accounts.key"
    await (await asyncio.create_subprocess_exec("openssl", "genrsa", "-out", key, "2048")).wait()
    (folder / "tokens.csv").write_text(f'{TOKEN},bench,bench,"system:masters"\n')
    options = {
        etcd: {
            "data-dir": folder / "etcd",
            "unsafe-no-fsync": "true",
            "listen-client-urls": "http://127.0.0.1:2379",
            "advertise-client-urls": "http://127.0.0.1:2379",
            "listen-peer-urls": "http://127.0.0.1:2380",
        },
        apiserver: {
            "etcd-servers": "http://127.0.0.1:2379",
            "bind-address": HOST,
            "advertise-address": HOST,
            "secure-port": PORT,
            "cert-dir": folder / "certs",
            "token-auth-file": folder / "tokens.csv",
            "authorization-mode": "RBAC",
            "service-account-issuer": "bench",
            "service-account-key-file": key,
            "service-account-signing-key-file": key,
            "service-cluster-ip-range": "10.99.0.0/16",
            # There is no controller that would make the ServiceAccounts that this plugin looks for.
            "disable-admission-plugins": "ServiceAccount",
        },
    }
    running = []
    try:
        for program, chosen in options.items():
            log = (folder / f"{Path(program).name}.log").open("w")
            flags = [f"--{name}={value}" for name, value in chosen.items()]
            running.append(await asyncio.create_subprocess_exec(program, *flags, stdout=log, stderr=log))
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=32)) as session:
            api = Api(session)
            await _ready(api)
            yield api
    finally:
        for process in running:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
        await asyncio.gather(*(process.wait() for process in running))


async def _ready(api: Api) -> None:
    async with asyncio.timeout(120):
        while True:
            with contextlib.suppress(aiohttp.ClientError, RuntimeError):
                if await api.send("GET", "readyz") == "ok":
                    return
            await asyncio.sleep(0.3)  # an API server that starts tells nobody when it is ready


def kubeconfig(folder: Path) -> Path:
    """For the operator."""
    path = folder / "kubeconfig"
    cluster = {"server": URL, "insecure-skip-tls-verify": True}
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "bench",
        "clusters": [{"name": "bench", "cluster": cluster}],
        "users": [{"name": "bench", "user": {"token": TOKEN}}],
        "contexts": [{"name": "bench", "context": {"cluster": "bench", "user": "bench"}}],
    }
    path.write_text(json.dumps(document))
    return path
