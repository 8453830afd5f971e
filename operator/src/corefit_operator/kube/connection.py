"""How the API server is reached: one configuration for our own client and for kopf's watches.

Inside a pod from its ServiceAccount, elsewhere from a kubeconfig. May not send requests.
"""

import os
from pathlib import Path
from typing import Final

import kopf
from aiohttp import ClientError, TraceConfig
from kubernetes.aio import config
from kubernetes.aio.client import Configuration

from corefit_core.errors import ConfigError

REQUESTS_AT_ONCE: Final = 32
"""To the API server: 500 resources that all want something are then still a small part of what it takes at a time."""
SERVICE_ACCOUNT_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")


def in_cluster() -> bool:
    """Whether this process runs in a pod that was given an API server."""
    return bool(os.environ.get("KUBERNETES_SERVICE_HOST")) and SERVICE_ACCOUNT_NAMESPACE.exists()


def own_namespace() -> str:
    """The namespace that the operator runs in; empty outside a cluster."""
    return SERVICE_ACCOUNT_NAMESPACE.read_text().strip() if in_cluster() else ""


async def load(kubeconfig: str | None, context: str | None) -> Configuration:
    """The configuration, from the kubeconfig if one is named or there is no ServiceAccount.

    Raises:
        ConfigError: there is neither, or it can't be read.
    """
    configuration = Configuration()
    configuration.connection_pool_maxsize = REQUESTS_AT_ONCE
    # Else each request looks for a proxy and a password in the environment first, on a thread; kopf does neither.
    configuration.client_session_kwargs = {"trust_env": False, "trace_configs": [_no_redirects()]}
    try:
        if kubeconfig is None and context is None and in_cluster():
            # The library is typed but for these two functions.
            config.load_incluster_config(client_configuration=configuration)  # type: ignore[no-untyped-call]
        else:
            await config.load_kube_config(  # type: ignore[no-untyped-call]
                config_file=kubeconfig, context=context, client_configuration=configuration, persist_config=False
            )
    except (config.ConfigException, OSError) as error:
        raise ConfigError(f"no way to reach a cluster: {error}; name a kubeconfig with --kubeconfig") from error
    return configuration


def _no_redirects() -> TraceConfig:
    """Sees that no redirect is followed: a pod behind the API server's proxy could send us anywhere, as who we are."""

    async def refuse(*_: object) -> None:
        raise ClientError("a redirect, which is not followed: an API server sends none, so a pod or a proxy did")

    trace = TraceConfig()
    trace.on_request_redirect.append(refuse)
    return trace


async def kopf_login(configuration: Configuration) -> kopf.ConnectionInfo:
    """The same for kopf, which asks again whenever the API server answers 401, so that rotated tokens are read anew."""
    header: str | None = await configuration.get_api_key_with_prefix("BearerToken")
    token = header.split(" ", 1)[-1].strip() if header else None
    return kopf.ConnectionInfo(
        server=configuration.host,
        ca_path=configuration.ssl_ca_cert,
        insecure=not configuration.verify_ssl,
        certificate_path=configuration.cert_file,
        private_key_path=configuration.key_file,
        username=configuration.username or None,
        password=configuration.password or None,
        token=token,
        proxy_url=configuration.proxy or None,
    )
