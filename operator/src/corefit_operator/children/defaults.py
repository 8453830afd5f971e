"""The operator's own configuration, as far as it enters the objects that it makes. May not read the command line."""

import msgspec

from corefit_core.platform_policy import PlatformPolicy


class Defaults(msgspec.Struct, frozen=True, kw_only=True):
    """What the operator was configured with.

    Attributes:
        image: of the runtime, where the resource names none.
        operator_namespace: where the operator runs; empty when it runs outside the cluster.
        monitoring_namespaces: whose pods may reach the admin port too, for metrics.
        version: of the operator, for the stamp of what is put into pods of others.
        startup_millicores: CPU that pods start with where the resource doesn't say; 0 for what it grants anyway.
        allow_link_local: whether models may come from link-local and cloud metadata addresses.
        policy: what resources may name.
        balancer_image: of HAProxy; empty where there is none.
        cluster_domain: the domain of the cluster's DNS names.
    """

    image: str
    version: str = ""
    operator_namespace: str = ""
    monitoring_namespaces: tuple[str, ...] = ()
    startup_millicores: int = 0
    allow_link_local: bool = False
    policy: PlatformPolicy = PlatformPolicy()
    balancer_image: str = ""
    cluster_domain: str = "cluster.local"
