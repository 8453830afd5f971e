"""The API server as the tests use it: plain JSON, from any thread, with the rights of a kubeconfig's user."""

import base64
import json
import ssl
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import urllib3
import yaml

MERGE = "application/merge-patch+json"
APPLY = "application/apply-patch+yaml"
JSON = "application/json"


class Refused(Exception):
    """An answer that is no success."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(f"{status} {text[:500]}")
        self.status = status


class Api:
    """Requests to the API server."""

    def __init__(self, kubeconfig: str | Path, connections: int = 64) -> None:
        self.server, context = upstream(kubeconfig)
        # A kept connection that the server has closed shows only when it is used; what is told twice is the same.
        again = urllib3.Retry(2, allowed_methods=("GET", "PATCH"), respect_retry_after_header=False)
        self._pool = urllib3.PoolManager(maxsize=connections, block=True, ssl_context=context, retries=again)

    def __call__(self, method: str, path: str, body: Any = None, kind: str = JSON) -> dict[str, Any]:
        """The decoded answer.

        Raises:
            Refused: it is no success.
        """
        data = None if body is None else json.dumps(body).encode()
        decoded: dict[str, Any] = json.loads(self.send(method, path, data, kind))
        return decoded

    def send(self, method: str, path: str, data: bytes | None, kind: str = JSON) -> str:
        """The answer as it is.

        Raises:
            Refused: it is no success.
        """
        answer = self._pool.request(method, f"{self.server}/{path}", body=data, headers={"Content-Type": kind})
        text = answer.data.decode()
        if answer.status >= 400:
            raise Refused(answer.status, text)
        return text

    def get(self, path: str) -> dict[str, Any]:
        """An object or a list."""
        return self("GET", path)

    def find(self, path: str) -> dict[str, Any]:
        """An object; an empty one when there is none."""
        try:
            return self.get(path)
        except Refused as refused:
            if refused.status == 404:
                return {}
            raise

    def events(self, path: str, since: str) -> Iterator[dict[str, Any]]:
        """All that has happened to the objects of a list since it had this version, and what happens from now on."""
        url = f"{self.server}/{path}?watch=1&resourceVersion={since}"
        answer = self._pool.request("GET", url, preload_content=False)
        try:
            yield from map(json.loads, answer)
        finally:
            answer.close()

    def close(self) -> None:
        """Ends its connections."""
        self._pool.clear()


def upstream(kubeconfig: str | Path) -> tuple[str, ssl.SSLContext]:
    """The server of a kubeconfig, and how to be its user there."""
    document: dict[str, Any] = yaml.safe_load(Path(kubeconfig).read_text())
    cluster, user = document["clusters"][0]["cluster"], document["users"][0]["user"]
    with tempfile.TemporaryDirectory() as folder:
        files = {}
        for name, source in (
            ("certificate-authority", cluster),
            ("client-certificate", user),
            ("client-key", user),
        ):
            files[name] = Path(folder) / name
            given = source.get(f"{name}-data")
            files[name].write_bytes(base64.b64decode(given) if given else Path(source[name]).read_bytes())
        context = ssl.create_default_context(cafile=str(files["certificate-authority"]))
        context.load_cert_chain(files["client-certificate"], files["client-key"])
    return str(cluster["server"]), context
