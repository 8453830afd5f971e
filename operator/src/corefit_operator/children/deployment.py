"""The Deployment of the runtime's pods.

The pod template is a function of the resource and the operator's configuration alone: nothing that pods report or that
the operator remembers may enter it, or a restart of the operator would roll pods. No replicas either: the scale
subresource is their only writer.
"""

from typing import Any, Final

from corefit_core import naming
from corefit_core.api.application import Application
from corefit_core.manifest import Manifest
from corefit_core.pods import container, service_port_name, sidecar
from corefit_core.spec.serving_spec import ServingSpec
from corefit_operator.children import metadata, pod
from corefit_operator.children.defaults import Defaults

GRACE_MARGIN_S: Final = 30
"""Seconds on top of the drain for what is in flight; objectives are below 60 s and most below 1 s."""
PROGRESS_DEADLINE_S: Final = 600
"""The Deployment's own default, stated since a condition speaks of it."""


def manifest(spec: ServingSpec, defaults: Defaults) -> Manifest:
    """The Deployment."""
    body = {
        "selector": {"matchLabels": naming.selector(spec.name)},
        **pod.rollout(),
        "progressDeadlineSeconds": PROGRESS_DEADLINE_S,
        "revisionHistoryLimit": 3,
        "template": _template(spec, defaults),
    }
    made = metadata.manifest(spec, "apps/v1", "Deployment", {"spec": body})
    # On the Deployment alone, whose pods roll when it changes: `upgrades` tells by it on whose account.
    made["metadata"]["annotations"][naming.ANNOTATION_SPEC_HASH] = spec.spec_hash
    return made


def start_millicores(spec: ServingSpec, defaults: Defaults) -> int:
    """CPU that the template gives to new pods: what the resource grants, or more while they start.

    Beside an application it grants what it says: how long that takes to start is the application's affair. A pod that
    may burst has its limit from the start.
    """
    if spec.application is not None or spec.burst_millicores is not None:
        return spec.millicores
    boost = spec.startup_millicores
    return max(spec.millicores, defaults.startup_millicores if boost is None else boost)


def _template(spec: ServingSpec, defaults: Defaults) -> Manifest:
    application, template = spec.application, spec.template
    meta = {
        "labels": {**template.labels, **metadata.labels(spec)},
        "annotations": {
            **template.annotations,
            **naming.model_annotations(spec.model.source_uri, spec.model.revision),
        },
    }
    if application is None:
        return {"metadata": meta, "spec": _runtime_alone(spec, defaults)}
    return sidecar.injected(
        {"metadata": meta, "spec": _application_pod(spec, application)},
        sidecar.rendered(spec, defaults.image, link_local=defaults.allow_link_local),
    )


def _runtime_alone(spec: ServingSpec, defaults: Defaults) -> dict[str, Any]:
    grace_s = container.DRAIN_S + GRACE_MARGIN_S + round(spec.objective.latency_s)
    runtime = container.container(
        spec, defaults.image, start_millicores(spec, defaults), link_local=defaults.allow_link_local
    )
    volumes = container.volumes(spec, container.OWN_POD)
    return {**_around(spec, grace_s), "containers": [runtime], "volumes": volumes}


def _application_pod(spec: ServingSpec, application: Application) -> dict[str, Any]:
    containers = service_port_name.named(application.containers, application.port) or list(application.containers)
    around = _around(spec, application.termination_grace_period_seconds)
    return {**around, "containers": containers, "volumes": list(application.volumes)}


def _around(spec: ServingSpec, grace_s: int) -> dict[str, Any]:
    """What pods of both kinds have around their containers."""
    template = spec.template
    scheduling = {
        "affinity": template.affinity or None,
        "topologySpreadConstraints": list(template.topology_spread_constraints),
    }
    return {
        **pod.surroundings(spec, template.service_account_name or spec.child_name, grace_s),
        **{key: value for key, value in scheduling.items() if value},
    }
