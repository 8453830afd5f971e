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

SERVER = "--from-literal=server=guarded"


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
    kube.kubectl("create", "secret", "generic", "right", f"--from-literal=token={TOKEN}", SERVER)
    kube.kubectl(
        "create", "secret", "generic", "elsewhere", f"--from-literal=token={TOKEN}", "--from-literal=server=a.b"
    )
    kube.kubectl("create", "secret", "generic", "wrong", "--from-literal=token=another", SERVER)
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
    kube.apply(service("elsewhere", model={"uri": uri, "credentialsSecret": {"name": "elsewhere"}}))
    kube.apply(service("metadata", model={"uri": METADATA}))
    kube.apply(service("redirected", model={"uri": "http://guarded/away.onnx"}))
    kube.wait_condition("right", "Ready", "True")
    _says(kube, "none", "401")
    _says(kube, "wrong", "401")
    _says(kube, "elsewhere", "is for a.b", "nothing is sent there")
    for name in ("metadata", "redirected"):
        _says(kube, name, "a link-local or metadata address")
    ours = kube.get("deployments,replicasets,pods", "--selector", LABEL_SERVICE)
    assert len(ours["items"]) >= 3 * 5
    assert TOKEN not in json.dumps([ours, kube.get("inferenceservices,events")])


def test_a_claim_or_a_file_that_is_missing_is_named_with_what_to_do(kube: Any, service: Make) -> None:
    """Of a missing claim people were told to add nodes, of a missing file to see that pods reach it."""
    mount = {"volumes": [{"name": "v", "emptyDir": {}}], "volumeMounts": [{"name": "v", "mountPath": "/mnt/v"}]}
    kube.apply(service("file", model={"uri": "file:///mnt/v/a.onnx"}, template=mount))
    kube.apply(service("claim", model={"uri": "pvc://nowhere/a.onnx"}))
    claim = {
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": "1Gi"}},
        "storageClassName": "none",
    }
    kube.apply({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "unbound"}, "spec": claim})
    kube.apply(service("unbound", model={"uri": "pvc://unbound/a.onnx"}))
    for name, reason, words in (
        ("file", "ModelUnavailable", ("file:///mnt/v/a.onnx", "volumeMounts")),
        ("claim", "ClaimNotFound", ('"nowhere" not found', "Create the PersistentVolumeClaim")),
        ("unbound", "ClaimNotBound", ("StorageClass",)),
    ):

        def told(name: str = name, reason: str = reason) -> dict[str, Any]:
            found = kube.condition(name, "Ready")
            return found if found.get("reason") == reason else {}

        message = kube.until(f"{name} says {reason}", told)["message"]
        assert all(word in message for word in words), message
        assert kube.get("cfis", name)["status"]["state"] == reason


def test_a_rollout_to_a_model_that_is_not_there_shows_in_kubectl_get_beside_what_serves(
    kube: Any, service: Make
) -> None:
    """It said READY True, Serving, and the address that does not work; and the way back rolls nothing."""
    good, broken = "http://models/digits.onnx", "http://models/nothing.onnx"
    kube.apply(service(model={"uri": good}))
    kube.wait_condition("digits", "Ready", "True")

    def shown() -> list[str]:
        [row] = kube.kubectl("get", "cfis", "digits", "--no-headers", "--output", "wide").splitlines()
        return [str(word) for word in row.split()]

    assert shown()[:4] == ["digits", "1/1", "Serving", "200m"]
    kube.apply(service(model={"uri": broken}))
    kube.until("the rollout is stuck", lambda: "ModelUnavailable" in shown())
    assert shown()[:3] == ["digits", "1/1", "ModelUnavailable"]
    assert good in shown()
    assert broken not in shown()
    kube.apply(service(model={"uri": good, "revision": "2"}))
    wait = ("--for=jsonpath={.status.model.revision}=2", "cfis/digits", kube.patience)
    kube.kubectl("wait", *wait)
    kube.until("it serves again", lambda: shown()[1:3] == ["1/1", "Serving"])
    assert kube.get("cfis", "digits")["status"]["model"]["uri"] == good
