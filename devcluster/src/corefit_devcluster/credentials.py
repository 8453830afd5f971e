"""Writes a cluster's keys, certificates and kubeconfigs. Who may do what is decided here; how they look, in `pki`."""

from pathlib import Path

from corefit_devcluster.pki import Authority, Pair, kubeconfig, signing_key
from corefit_devcluster.render import api_names
from corefit_devcluster.settings import Settings


def write(settings: Settings) -> None:
    """Issue everything anew; only root may read the keys."""
    folder = settings.paths.pki
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    authority, front = Authority("corefit-devcluster"), Authority("corefit-front-proxy")
    api_addresses = [settings.address, settings.ranges.api_service]
    pairs = {
        "ca": authority.pair,
        "apiserver": authority.server("kube-apiserver", api_addresses, api_names()),
        "apiserver-kubelet": authority.client("kube-apiserver-kubelet-client", "system:masters"),
        # Without the node's address in it `kubectl logs` and the pod proxy fail.
        "kubelet-server": authority.server(f"system:node:{settings.node}", [settings.address], [settings.node]),
        "service-accounts": signing_key(),
        "front-proxy-ca": front.pair,
        "front-proxy-client": front.client("front-proxy-client"),
    }
    for name, pair in pairs.items():
        _private(folder / f"{name}.key", pair.key)
        (folder / f"{name}.crt").write_bytes(pair.certificate)
    for name, user in _users(settings, authority).items():
        _write_kubeconfig(folder / f"{name}.kubeconfig", settings, authority, user)
    admin = authority.client("kubernetes-admin", "system:masters")
    _write_kubeconfig(settings.paths.kubeconfig, settings, authority, admin)


def _users(settings: Settings, authority: Authority) -> dict[str, Pair]:
    users = {
        "kube-controller-manager": authority.client("system:kube-controller-manager"),
        "kube-scheduler": authority.client("system:kube-scheduler"),
        "kube-proxy": authority.client("system:kube-proxy"),
        "kubelet": authority.client(f"system:node:{settings.node}", "system:nodes"),
        "coredns": authority.client("system:coredns"),
    }
    if settings.metrics_server:
        users["metrics-server"] = authority.client("system:metrics-server")
    return users


def _write_kubeconfig(path: Path, settings: Settings, authority: Authority, user: Pair) -> None:
    _private(path, kubeconfig(settings.name, settings.server, authority.pair.certificate, user).encode())


def _private(path: Path, content: bytes) -> None:
    path.touch(mode=0o600)
    path.write_bytes(content)
