"""Runs of the model stay within a real pod's memory: the kernel ends no pod for what a request takes."""

import json
import urllib.error
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from runtime.products import products

pytestmark = pytest.mark.cluster


def _status(url: str, size: int) -> int:
    """The HTTP status for one row of so many numbers, which takes 4 * size * size bytes in the run."""
    tensor = {"name": "x", "datatype": "FP32", "shape": [1, size], "data": [1.0] * size}
    request = urllib.request.Request(url, json.dumps({"inputs": [tensor]}).encode())  # noqa: S310
    try:
        with urllib.request.urlopen(request, timeout=300) as answer:  # noqa: S310 - a cluster address of our own
            return int(answer.status)
    except urllib.error.HTTPError as refused:
        return refused.code


def test_what_a_pod_has_no_memory_for_is_refused_and_the_pod_serves_on(
    kube: Any, service: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    """One request of 4 MB took 2.1 GB, and the kernel ended the pod with all that were in it."""
    kube.kubectl("create", "configmap", "products", f"--from-file={products(tmp_path)}")
    template = {
        "volumes": [{"name": "products", "configMap": {"name": "products"}}],
        "volumeMounts": [{"name": "products", "mountPath": "/mnt/products", "readOnly": True}],
    }
    objective = {"percentile": 99, "latencyMilliseconds": 30_000}
    uri = "file:///mnt/products/products.onnx"
    kube.apply(service("products", model={"uri": uri}, objective=objective, template=template))
    kube.wait_condition("products", "Ready", "True")
    url = kube.url("products")
    with ThreadPoolExecutor(8) as clients:
        for size, allowed in ((100, {200}), (3000, {200, 413, 503}), (8000, {413}), (20_000, {413}), (100, {200})):
            statuses = set(clients.map(lambda _, size=size: _status(url, size), range(16)))
            assert statuses <= allowed, f"rows of {size}"
    [pod] = kube.get("pods", "-l", "serving.corefit.dev/inferenceservice=products")["items"]
    assert [state["restartCount"] for state in pod["status"]["containerStatuses"]] == [0]
