"""Where models come from, on the cluster: a server that asks for credentials, and addresses that none may come from."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from corefit_core.naming import LABEL_SERVICE

pytestmark = pytest.mark.cluster
ROOT = Path(__file__).parents[2]
Make = Callable[..., dict[str, Any]]
METADATA = "http://169.254.169.254/latest/meta-data/a.onnx"
TOKEN = "s3cret-of-the-test"  # noqa: S105 - of a server that ends with the test
GUARDED = f"""
import http.server
class Guarded(http.server.SimpleHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/":
            self.send_response(204)
        elif self.path == "/away.onnx":
            self.send_response(302)
            self.send_header("Location", "{METADATA}")
        elif self.headers["Authorization"] == "Bearer {TOKEN}":
            return super().do_GET()
        else:
            self.send_response(401)
        self.end_headers()
http.server.ThreadingHTTPServer(("", 8000), lambda *a: Guarded(*a, directory="/models")).serve_forever()
"""


@pytest.fixture
def guarded(kube: Any) -> Any:
    """The examples' model server once more, as one that asks for a token."""
    deployment, service = yaml.safe_load_all((ROOT / "examples/models.yaml").read_text())
    kept = kube.get("deployment", "models")["spec"]["template"]["spec"]["volumes"]
    labels = {"app": "guarded"}
    pod = deployment["spec"]["template"]["spec"]
    pod["containers"][0]["command"] = ["python3", "-c", GUARDED]
    pod["volumes"] = [{"name": v["name"], "configMap": {"name": v["configMap"]["name"]}} for v in kept]
    spec = {"selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}, "spec": pod}}
    kube.apply({**deployment, "metadata": {"name": "guarded"}, "spec": spec})
    kube.apply({**service, "metadata": {"name": "guarded"}, "spec": {**service["spec"], "selector": labels}})
    kube.kubectl("create", "secret", "generic", "right", f"--from-literal=token={TOKEN}")
    kube.kubectl("create", "secret", "generic", "wrong", "--from-literal=token=another")
    kube.rolled_out("deployment/guarded")
    kube.address("guarded")
    return kube


def _says(kube: Any, name: str, *words: str) -> None:
    def said() -> bool:
        found: dict[str, Any] = kube.condition(name, "Ready")
        return found.get("reason") == "ModelUnavailable" and all(word in found["message"] for word in words)

    kube.until(f"{name} says ModelUnavailable and {words}", said)


def test_credentials_come_from_the_secret_and_metadata_addresses_are_refused(guarded: Any, service: Make) -> None:
    kube, uri = guarded, "http://guarded/digits.onnx"
    kube.apply(service("none", model={"uri": uri}))
    kube.apply(service("wrong", model={"uri": uri, "credentialsSecret": {"name": "wrong"}}))
    kube.apply(service("right", model={"uri": uri, "credentialsSecret": {"name": "right"}}))
    kube.apply(service("metadata", model={"uri": METADATA}))
    kube.apply(service("redirected", model={"uri": "http://guarded/away.onnx"}))
    kube.wait_condition("right", "Ready", "True")
    _says(kube, "none", "401")
    _says(kube, "wrong", "401")
    for name in ("metadata", "redirected"):
        _says(kube, name, "169.254.169.254", "link-local")
    ours = kube.get("deployments,replicasets,pods", "--selector", LABEL_SERVICE)
    assert len(ours["items"]) >= 3 * 5
    assert TOKEN not in json.dumps([ours, kube.get("inferenceservices,events")])
