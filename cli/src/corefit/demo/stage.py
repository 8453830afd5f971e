"""Puts everything in its place: cluster, images, operator, models, services; and takes it away. No measuring."""

import os
import sys
from pathlib import Path

from corefit.demo.settings import DIGITS, NAMESPACE, SERVICE, SYSTEM_NAMESPACE, Settings
from corefit.demo.tools import StepFailed, Tools
from corefit.demo.view import Console

_RESTRICTED = "pod-security.kubernetes.io/enforce=restricted"


def set_up(settings: Settings, tools: Tools, console: Console) -> Tools:
    """The cluster with operator, models and services ready; returns the programs that point at it."""
    with console.stage("a Kubernetes on this machine"):
        tools = _cluster(tools, settings.cluster)
    with console.stage("images of operator and runtime"):
        _images(tools, settings.cluster)
    with console.stage("helm install corefit charts/corefit"):
        _install(tools)
    with console.stage("kubectl apply -k examples, and two InferenceServices"):
        _models(tools, NAMESPACE, _RESTRICTED)
        for name in (DIGITS, SERVICE):
            tools.run("kubectl", "apply", "--namespace", NAMESPACE, "-f", f"examples/{name}/inferenceservice.yaml")
    for name in (DIGITS, SERVICE):
        with console.stage(f"waiting until {name} is ready"):
            wait_ready(tools, name)
    return tools


def bare(tools: Tools, cluster: str, namespace: str, *options: str) -> Tools:
    """A cluster with one operator and, in the namespace, the models: what benches begin with.

    `options` are those of the cluster's `up`. Returns the programs that point at it.
    """
    tools = _cluster(tools, cluster, *options)
    _images(tools, cluster)
    _install(tools, "--set", "replicas=1")
    _models(tools, namespace)
    tools.run("kubectl", "rollout", "status", "deployment/models", "--namespace", namespace, "--timeout=240s")
    return tools


def take_down(settings: Settings, tools: Tools, console: Console) -> None:
    """The cluster goes, unless it is to be kept."""
    if settings.keep:
        name = settings.cluster
        console.say(f'The cluster stays. Use it: eval "$(.venv/bin/corefit-devcluster env --name {name})"')
        console.say(f"Take it down: .venv/bin/corefit-devcluster down --name {name}")
        return
    with console.stage("taking the cluster down"):
        tools.run("corefit-devcluster", "down", "--name", settings.cluster)


def url_of(tools: Tools, name: str) -> str:
    """The inference URL of a service, by its cluster IP: the host has a route to it."""
    service = tools.json("kubectl", "get", "service", name, "--namespace", NAMESPACE, "--output", "json")["spec"]
    port = next(p["port"] for p in service["ports"] if p.get("name", "http") == "http")
    return f"http://{service['clusterIP']}:{port}/v2/models/{name}/infer"


def wait_ready(tools: Tools, name: str) -> None:
    """Until the resource's Ready condition is true; what stands in the way is shown when it doesn't come to it."""
    resource = f"inferenceservice/{name}"
    try:
        tools.run("kubectl", "wait", "--for=condition=Ready", resource, "--namespace", NAMESPACE, "--timeout=300s")
    except StepFailed as error:
        seen = tools.run("kubectl", "get", "inferenceservices,pods,events", "--namespace", NAMESPACE)
        raise StepFailed(f"{name} did not become ready.\n{seen}") from error


def can_have_cluster() -> bool:
    """Whether this user on this machine can make a cluster; where not, `corefit-devcluster up` says why."""
    return sys.platform.startswith("linux") and os.geteuid() == 0


def environment(root: Path) -> Tools:
    """The programs with this process's environment."""
    return Tools(root, os.environ)


def _cluster(tools: Tools, name: str, *options: str) -> Tools:
    tools.run("corefit-devcluster", "up", "--name", name, *options)
    return tools.with_cluster(tools.run("corefit-devcluster", "env", "--name", name))


def _images(tools: Tools, cluster: str) -> None:
    archives = tools.run("corefit-devcluster", "images").split()
    tools.run("corefit-devcluster", "load-images", "--name", cluster, *archives)


def _install(tools: Tools, *options: str) -> None:
    values = ("--values", "devcluster/chart-values.yaml")
    release = ("corefit", "charts/corefit", *values, "--namespace", SYSTEM_NAMESPACE, "--create-namespace", *options)
    try:
        tools.run("helm", "upgrade", "--install", *release, "--wait", "--timeout", "5m")
    except StepFailed as error:
        seen = tools.run("kubectl", "get", "pods,events", "--namespace", SYSTEM_NAMESPACE)
        said = tools.run("kubectl", "logs", "deployment/corefit", "--namespace", SYSTEM_NAMESPACE, "--tail=30")
        raise StepFailed(f"{error}\n{seen}\n{said}") from error


def _models(tools: Tools, namespace: str, *labels: str) -> None:
    if not tools.run("kubectl", "get", "namespace", namespace, "--ignore-not-found", "--output", "name"):
        tools.run("kubectl", "create", "namespace", namespace)
    if labels:
        tools.run("kubectl", "label", "--overwrite", "namespace", namespace, *labels)
    tools.run("kubectl", "apply", "--namespace", namespace, "-k", "examples")
