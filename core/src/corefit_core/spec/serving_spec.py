"""What one InferenceService asks for, decoded: integers and decided defaults instead of strings. May not do I/O."""

import msgspec

from corefit_core import naming
from corefit_core.api import inference_service as api
from corefit_core.api.application import Application, TargetRef
from corefit_core.api.gateway import Gateway
from corefit_core.api.routing import Balancing
from corefit_core.recommender import Policy
from corefit_core.sizing import Objective, SizingPlan


class ServedModel(msgspec.Struct, frozen=True, kw_only=True):
    """The model that is served.

    Attributes:
        uri: what the runtime fetches; a `pvc://` model is a file below `naming.SOURCE_MOUNT` for it.
        source_uri: spec.model.uri.
        revision: spec.model.revision; empty when there is none.
        claim: the claim to mount for a `pvc://` model; empty when there is none.
        sha256: that it must have; empty when any will do.
        name: in the protocol's paths.
        credentials_secret: mounted for the runtime, for the model's web server; empty when there is none.
        calibrate: whether the runtime measures it before it serves.
        calibration_inputs: what it is measured with, as JSON for the runtime; empty for what the runtime makes up.
    """

    uri: str
    source_uri: str
    revision: str
    claim: str
    sha256: str
    name: str
    credentials_secret: str
    calibrate: bool = True
    calibration_inputs: str = ""


class ServingSpec(msgspec.Struct, frozen=True, kw_only=True):
    """What one resource asks for, and which one it is.

    Attributes:
        generation: of the resource's spec; conditions say which one they speak of.
        manual_replicas: spec.scaling.replicas.
        injected: it has no pods of its own; pods of others get the runtime (mode Sidecar).
        target: the workload of others that is scaled; None when none is.
        balancing: spec.routing.balancing.
        gateway: spec.routing.gateway; None where there is none.
        application: what the pods hold beside the runtime; None for pods of the runtime alone.
        spec_hash: a hash of the spec without scaling, prices and routing, the same whether a default was written out.
        paused: the operator writes nothing for this resource.
        millicores: CPU that a pod requests; where there is a range (`policy.cpu_range`) what it is never shrunk below.
        burst_millicores: the limit of a pod whose CPU beyond its request is the node's to lend; None: the request.
        startup_millicores: CPU that a pod starts with by the resource's own word; None where it says nothing.
        plan: from the CPU limit, before any pod has measured anything.
    """

    namespace: str
    name: str
    uid: str
    generation: int
    model: ServedModel
    millicores: int
    burst_millicores: int | None = None
    startup_millicores: int | None = None
    memory_bytes: int
    policy: Policy
    mode: api.Mode
    manual_replicas: int
    image: str
    image_pull_policy: str
    template: api.PodTemplate
    injected: bool
    target: TargetRef | None
    balancing: Balancing = "Direct"
    gateway: Gateway | None = None
    application: Application | None
    spec_hash: str
    paused: bool
    plan: SizingPlan

    @property
    def may_have_queue(self) -> bool:
        """Whether all pods are of the runtime alone: an application may speak what a balancer does not expect."""
        return not self.injected and self.application is None

    @property
    def objective(self) -> Objective:
        """Percentile and latency."""
        return self.policy.objective

    @property
    def child_name(self) -> str:
        """What its children are called."""
        return naming.child_name(self.name)
