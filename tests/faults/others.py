"""Workloads of others: a Deployment whose pods get the runtime of mode Sidecar, by the chart's own admission policies.

As on a real cluster nobody but the API server puts the sidecar in: what pods are made of is the operator's status.
"""

import subprocess
from http import HTTPStatus
from pathlib import Path
from typing import Any

import yaml
from faults.api import MERGE, Api, Refused

from corefit_core.naming import ANNOTATION_INJECTED, GROUP, LABEL_INJECT, PLURAL, VERSION, balancer_name
from corefit_core.pods import sidecar

ROOT = Path(__file__).parents[2]
ACCOUNT = "corefit"
"""The operator's ServiceAccount by the chart, which tells it that the policies are there."""
POLICIES = {
    "MutatingAdmissionPolicy": "mutatingadmissionpolicies",
    "MutatingAdmissionPolicyBinding": "mutatingadmissionpolicybindings",
    "ValidatingAdmissionPolicy": "validatingadmissionpolicies",
    "ValidatingAdmissionPolicyBinding": "validatingadmissionpolicybindings",
}
DEPLOYMENTS = "apis/apps/v1/namespaces/{}/deployments"


def install(api: Api, helm: Path) -> None:
    """Installs the chart's admission policies, and nothing else of it."""
    values = ("--values", ROOT / "devcluster/chart-values.yaml", "--set", "injection.install=Always")
    command = [helm, "template", ACCOUNT, ROOT / "charts/corefit", *values]
    rendered = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    for document in yaml.safe_load_all(rendered):
        if document and document["kind"] in POLICIES:
            api("POST", f"apis/admissionregistration.k8s.io/v1/{POLICIES[document['kind']]}", document)


def in_force(api: Api) -> bool:
    """Whether a pod that asks for a sidecar that isn't there is refused, as long as which none would be put in."""
    metadata = {"name": "asks", "labels": {LABEL_INJECT: "nobody"}}
    pod = {"metadata": metadata, "spec": {"containers": [{"name": "web", "image": "web:1"}]}}
    try:
        api("POST", "api/v1/namespaces/default/pods?dryRun=All", pod)
    except Refused as refused:
        return "this pod has no sidecar" in str(refused)
    return False


def scale(api: Api, namespace: str, name: str, replicas: int) -> None:
    """Scales a Deployment, as a person does."""
    api("PATCH", f"{DEPLOYMENTS.format(namespace)}/{name}", {"spec": {"replicas": replicas}}, MERGE)


def take_balancer(api: Api, namespace: str, service: str) -> None:
    """Takes the pods of a service's balancer away, if there are any, as a person does."""
    try:
        scale(api, namespace, balancer_name(service), 0)
    except Refused as refused:
        if refused.status != HTTPStatus.NOT_FOUND:
            raise


class Workload:
    """A Deployment of somebody's in one namespace.

    Args:
        service: the resource whose runtime its pods ask for.
    """

    NAME = "web"

    def __init__(self, api: Api, namespace: str, service: str) -> None:
        self._api = api
        self._namespace = namespace
        self._service = service
        self.path = f"{DEPLOYMENTS.format(namespace)}/{self.NAME}"

    def make(self) -> None:
        """Creates it, unless it is there."""
        labels = {"app": self.NAME}
        pod = {
            # Otherwise there is a volume of a random name.
            "automountServiceAccountToken": False,
            "containers": [{"name": "web", "image": "web:1", "ports": [{"name": "http", "containerPort": 8080}]}],
        }
        spec = {
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": {**labels, LABEL_INJECT: self._service}}, "spec": pod},
        }
        if not self._api.find(self.path):
            self._api("POST", DEPLOYMENTS.format(self._namespace), {"metadata": {"name": self.NAME}, "spec": spec})

    def remove(self) -> None:
        """Deletes it, if it is there; its pods go after it."""
        if self._api.find(self.path):
            self._api("DELETE", self.path, {"propagationPolicy": "Background"})

    def scale(self, replicas: int) -> None:
        """By a person."""
        scale(self._api, self._namespace, self.NAME, replicas)

    def restart(self) -> None:
        """Deletes all of its pods: the next ones get the sidecar of today."""
        for pod in self._pods():
            self._delete(pod)

    def renew(self) -> None:
        """Deletes the pods whose sidecar is one of before."""
        wanted = self._stamp()
        for pod in self._pods():
            if pod["metadata"].get("annotations", {}).get(ANNOTATION_INJECTED) != wanted:
                self._delete(pod)

    def offered(self) -> bool:
        """Whether the resource says what goes into pods."""
        return bool(self._stamp())

    def serves(self) -> bool:
        """Whether all of its pods are there and ready."""
        found = self._api.get(self.path)
        ready, wanted = found["status"].get("readyReplicas", 0), found["spec"]["replicas"]
        return bool(found["status"].get("observedGeneration") == found["metadata"]["generation"] and ready == wanted)

    def _stamp(self) -> str:
        path = f"apis/{GROUP}/{VERSION}/namespaces/{self._namespace}/{PLURAL}/{self._service}"
        template = self._api.find(path).get("status", {}).get("sidecar")
        return sidecar.stamp_of(template) if template else ""

    def _pods(self) -> list[dict[str, Any]]:
        path = f"api/v1/namespaces/{self._namespace}/pods?labelSelector=app={self.NAME}"
        found: list[dict[str, Any]] = self._api.get(path)["items"]
        return [pod for pod in found if "deletionTimestamp" not in pod["metadata"]]

    def _delete(self, pod: dict[str, Any]) -> None:
        try:
            self._api("DELETE", f"api/v1/namespaces/{self._namespace}/pods/{pod['metadata']['name']}")
        except Refused as refused:
            if refused.status != 404:
                raise
