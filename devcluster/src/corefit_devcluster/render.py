"""The configuration files of the cluster's processes. Pure: settings in, texts out.

Those that may be YAML are written as JSON, which is YAML.
"""

import json
from typing import Any

from corefit_devcluster.settings import API_PORT, CONTAINERD_SOCKET, DNS_READY_PORT, DOMAIN, SANDBOX_IMAGE, Settings

# The kubelet's own default for one call to containerd.
KUBELET_RUNTIME_SECONDS = 120


def files(settings: Settings) -> dict[str, str]:
    """Return each file of the config folder: name -> text."""
    documents: dict[str, dict[str, Any]] = {
        "kubelet.json": kubelet(settings),
        "kube-proxy.json": kube_proxy(settings),
        "audit-policy.json": audit_policy(),
        "cni/10-corefit.conflist": cni(settings),
        "addons.json": addons(settings),
    }
    texts = {name: json.dumps(document, indent=2) + "\n" for name, document in documents.items()}
    texts["containerd.toml"] = containerd(settings)
    texts["Corefile"] = corefile(settings)
    texts["resolv.conf"] = "# pods resolve through clusterDNS alone: there is no way out of the cluster\n"
    return texts


def kubelet(settings: Settings) -> dict[str, Any]:
    """Write the kubelet's configuration."""
    pki, data = settings.paths.pki, settings.paths.data
    document: dict[str, Any] = {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": str(settings.address),
        "authentication": {"x509": {"clientCAFile": str(pki / "ca.crt")}, "webhook": {"enabled": True}},
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": str(pki / "kubelet-server.crt"),
        "tlsPrivateKeyFile": str(pki / "kubelet-server.key"),
        "healthzBindAddress": "127.0.0.1",
        "containerRuntimeEndpoint": f"unix://{CONTAINERD_SOCKET}",
        "clusterDomain": DOMAIN,
        "clusterDNS": [str(settings.ranges.dns_service)],
        "resolvConf": str(settings.paths.config / "resolv.conf"),
        "cgroupRoot": str(settings.cgroup_root),
        "cgroupDriver": "cgroupfs",
        "cgroupsPerQOS": True,
        "enforceNodeAllocatable": [],
        "cpuManagerPolicy": "none",
        "runtimeRequestTimeout": f"{KUBELET_RUNTIME_SECONDS * settings.deadline_scale:.0f}s",
        "podLogsDir": str(data / "pod-logs"),
        "volumePluginDir": str(data / "volume-plugins"),
        "failSwapOn": False,
        # Evictions and image collection act on the whole disk's and machine's state, which is not ours to police.
        "localStorageCapacityIsolation": False,
        "evictionHard": {"memory.available": "0%", "nodefs.available": "0%", "imagefs.available": "0%"},
        "imageGCHighThresholdPercent": 100,
        # Raising our own chances against the OOM killer takes a capability that containers lack.
        "oomScoreAdj": 0,
        "protectKernelDefaults": False,
    }
    if settings.cgroup_v1:
        document["failCgroupV1"] = False
    return document


def kube_proxy(settings: Settings) -> dict[str, Any]:
    """Write kube-proxy's configuration."""
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "iptables",
        "bindAddress": str(settings.address),
        "hostnameOverride": settings.node,
        "clientConnection": {"kubeconfig": str(settings.paths.pki / "kube-proxy.kubeconfig")},
        "clusterCIDR": str(settings.ranges.pods),
        "healthzBindAddress": "127.0.0.1:10256",
        "metricsBindAddress": "127.0.0.1:10249",
        # The table's size is the host's, not the namespace's: leave it alone.
        "conntrack": {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
        "oomScoreAdj": 0,
    }


def audit_policy() -> dict[str, Any]:
    """Log who did what (never bodies) for service accounts outside of kube-system, and the person's own writes."""
    quiet = {"level": "None", "userGroups": ["system:serviceaccounts:kube-system", "system:nodes"]}
    accounts = {"level": "Metadata", "userGroups": ["system:serviceaccounts"]}
    writes = {
        "level": "Metadata",
        "users": ["kubernetes-admin"],
        "verbs": ["create", "update", "patch", "delete", "deletecollection"],
    }
    return {
        "apiVersion": "audit.k8s.io/v1",
        "kind": "Policy",
        "omitStages": ["RequestReceived"],
        "rules": [quiet, accounts, writes, {"level": "None"}],
    }


def cni(settings: Settings) -> dict[str, Any]:
    """Give each pod a routed veth pair of its own.

    Not a bridge: pods on one bridge answer each other past the address translation of services unless the kernel has
    br_netfilter; routed ones need nothing of the kind.
    """
    ipam = {
        "type": "host-local",
        "dataDir": str(settings.paths.data / "cni"),
        "ranges": [[{"subnet": str(settings.ranges.pods)}]],
        "routes": [{"dst": "0.0.0.0/0"}],
    }
    plugins = [
        {"type": "ptp", "ipMasq": False, "ipam": ipam},
        {"type": "portmap", "capabilities": {"portMappings": True}},
    ]
    return {"cniVersion": "1.0.0", "name": "corefit", "plugins": plugins}


def containerd(settings: Settings) -> str:
    """Write containerd's configuration, version 3."""
    data = settings.paths.data
    return f"""version = 3
root = "{data}/containerd"
state = "/run/containerd"
disabled_plugins = ["io.containerd.nri.v1.nri"]

[grpc]
  address = "{CONTAINERD_SOCKET}"

[plugins."io.containerd.internal.v1.opt"]
  path = "{data}/containerd-opt"

[plugins."io.containerd.cri.v1.images"]
  snapshotter = "{settings.snapshotter}"
  [plugins."io.containerd.cri.v1.images".pinned_images]
    sandbox = "{SANDBOX_IMAGE}"

[plugins."io.containerd.cri.v1.runtime"]
  # Lowering an oom_score_adj takes CAP_SYS_RESOURCE; where it is missing every sandbox would fail.
  restrict_oom_score_adj = true
  # The default, /var/run/netns, would leave mount points of ours on the host.
  netns_mounts_under_state_dir = true
  [plugins."io.containerd.cri.v1.runtime".cni]
    bin_dirs = ["{settings.cni}"]
    conf_dir = "{settings.paths.config}/cni"
  [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc.options]
      BinaryName = "{settings.programs["runc"]}"
      SystemdCgroup = false
"""


def corefile(settings: Settings) -> str:
    """Write CoreDNS's configuration: the cluster's names and nothing else."""
    return f""".:53 {{
    bind {settings.address}
    errors
    ready {settings.address}:{DNS_READY_PORT}
    kubernetes {DOMAIN} in-addr.arpa {{
        kubeconfig {settings.paths.pki}/coredns.kubeconfig
        pods insecure
        ttl 5
    }}
}}
"""


def addons(settings: Settings) -> dict[str, Any]:
    """Write what is applied once the API server answers: CoreDNS's rights and the service that leads to it."""
    rbac = "rbac.authorization.k8s.io"
    name = {"name": "corefit-devcluster:coredns"}
    core = {"apiGroups": [""], "resources": ["services", "pods", "namespaces"], "verbs": ["list", "watch"]}
    slices = {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": ["list", "watch"]}
    ports = [
        {"name": "dns", "port": 53, "protocol": "UDP"},
        {"name": "dns-tcp", "port": 53, "protocol": "TCP"},
    ]
    dns = {"name": "kube-dns", "namespace": "kube-system"}
    items: list[dict[str, Any]] = [
        {"apiVersion": f"{rbac}/v1", "kind": "ClusterRole", "metadata": name, "rules": [core, slices]},
        {
            "apiVersion": f"{rbac}/v1",
            "kind": "ClusterRoleBinding",
            "metadata": name,
            "roleRef": {"apiGroup": rbac, "kind": "ClusterRole", **name},
            "subjects": [{"apiGroup": rbac, "kind": "User", "name": "system:coredns"}],
        },
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {**dns, "labels": {"k8s-app": "kube-dns"}},
            "spec": {"clusterIP": str(settings.ranges.dns_service), "ports": ports},
        },
        _slice("kube-dns", settings, ports),
    ]
    if settings.metrics_server:
        items += metrics_server(settings)
    return {"apiVersion": "v1", "kind": "List", "items": items}


METRICS_PORT = 4443


def metrics_server(settings: Settings) -> list[dict[str, Any]]:
    """Write what leads `kubectl top` and HPAs to the metrics-server, and its rights."""
    rbac = "rbac.authorization.k8s.io"
    user = [{"apiGroup": rbac, "kind": "User", "name": "system:metrics-server"}]
    rules = [
        {"apiGroups": [""], "resources": ["nodes/metrics"], "verbs": ["get"]},
        {"apiGroups": [""], "resources": ["pods", "nodes", "namespaces"], "verbs": ["get", "list", "watch"]},
    ]
    name = {"name": "corefit-devcluster:metrics-server"}
    role = {"apiVersion": f"{rbac}/v1", "kind": "ClusterRole", "metadata": name, "rules": rules}

    def binding(suffix: str, kind: str, target: str, namespace: str = "") -> dict[str, Any]:
        metadata = {"name": name["name"] + suffix} | ({"namespace": namespace} if namespace else {})
        return {
            "apiVersion": f"{rbac}/v1",
            "kind": "RoleBinding" if namespace else "ClusterRoleBinding",
            "metadata": metadata,
            "roleRef": {"apiGroup": rbac, "kind": kind, "name": target},
            "subjects": user,
        }

    port = [{"name": "https", "port": METRICS_PORT, "protocol": "TCP"}]
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "metrics-server", "namespace": "kube-system"},
        "spec": {"ports": [{"name": "https", "port": 443, "targetPort": METRICS_PORT, "protocol": "TCP"}]},
    }
    registration = {
        "apiVersion": "apiregistration.k8s.io/v1",
        "kind": "APIService",
        "metadata": {"name": "v1beta1.metrics.k8s.io"},
        "spec": {
            "group": "metrics.k8s.io",
            "version": "v1beta1",
            "service": {"name": "metrics-server", "namespace": "kube-system"},
            "insecureSkipTLSVerify": True,
            "groupPriorityMinimum": 100,
            "versionPriority": 100,
        },
    }
    return [
        role,
        binding("", "ClusterRole", name["name"]),
        binding("-auth", "ClusterRole", "system:auth-delegator"),
        binding("-reader", "Role", "extension-apiserver-authentication-reader", "kube-system"),
        service,
        _slice("metrics-server", settings, port),
        registration,
    ]


def _slice(service: str, settings: Settings, ports: list[dict[str, Any]]) -> dict[str, Any]:
    """Point a service without a selector at the node's address."""
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": f"{service}-corefit",
            "namespace": "kube-system",
            "labels": {"kubernetes.io/service-name": service},
        },
        "addressType": "IPv4",
        "ports": ports,
        "endpoints": [{"addresses": [str(settings.address)], "conditions": {"ready": True}}],
    }


def api_names() -> list[str]:
    """Name the API server as its certificate has to."""
    service = "kubernetes.default"
    return ["kubernetes", service, f"{service}.svc", f"{service}.svc.{DOMAIN}", "localhost"]


def api_endpoint(settings: Settings) -> str:
    """Host and port of the API server."""
    return f"{settings.address}:{API_PORT}"
