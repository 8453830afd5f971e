"""`corefit-operator`: reads the command line and runs the operator. May not decide anything."""

import argparse
import contextlib
import logging
import os
import resource
import socket
import sys
from collections.abc import Sequence
from importlib.metadata import version
from typing import Final

import msgspec
import uvloop

from corefit_core.errors import CorefitError, InvalidInput
from corefit_core.platform_policy import PlatformPolicy
from corefit_core.quantity import parse_millicores
from corefit_operator.children.defaults import Defaults
from corefit_operator.kube import connection
from corefit_operator.process import logs

UPGRADES_AT_ONCE: Final = 5
"""Resources: each takes one pod more while it rolls; 500 of them are through in half an hour at 20 s each."""
NESTING: Final = 12_000
"""Levels of JSON that can be decoded: the API server stores 10,000, and a watch that can't read one object ends. Of the
8 MiB of stack that a process has, decoding so many takes 4; whatever else goes down an object sees few levels of it
(`transform.DEPTH_MAX`)."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the operator; the exit status is 0 after SIGTERM or SIGINT."""
    options = _parser().parse_args(arguments)
    logs.configure(options.log_level)
    logging.getLogger("kopf").setLevel(max(logging.WARNING, logging.root.level))
    open_files()
    sys.setrecursionlimit(NESTING)
    try:
        uvloop.run(_run(options))
    except CorefitError as error:
        print(f"corefit-operator: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def open_files() -> None:
    """Takes as many open files as the process may have: each pod holds a connection, and 1,024 is the usual number."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    with contextlib.suppress(ValueError, OSError):  # some systems call the limit infinite, and grant less
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


async def _run(options: argparse.Namespace) -> None:
    from corefit_operator.kube.lease import LeaseName  # noqa: PLC0415 - likewise
    from corefit_operator.process import program  # noqa: PLC0415 - 2 s of imports that --help does without

    settings = program.Settings(
        kubeconfig=options.kubeconfig,
        context=options.context,
        namespaces=tuple(options.namespace),
        defaults=Defaults(
            image=options.runtime_image,
            version=version("corefit-operator"),
            operator_namespace=connection.own_namespace(),
            monitoring_namespaces=tuple(options.monitoring_namespace),
            startup_millicores=options.startup_cpu,
            allow_link_local=options.allow_link_local,
            policy=options.policy,
            balancer_image=options.balancer_image,
            cluster_domain=options.cluster_domain,
        ),
        host=options.metrics_host,
        port=options.metrics_port,
        round_s=options.round_seconds,
        resync_s=options.resync_seconds,
        via=options.reports_via,
        lease=LeaseName(*options.lease.split("/", 1)) if options.lease else None,
        upgrades_at_once=options.upgrades_at_once,
        identity=os.environ.get("POD_NAME") or socket.gethostname(),
        injection_account=options.injection_account,
    )
    await program.run(settings)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="corefit-operator", description="Reconciles InferenceService resources.")
    run = parser.add_subparsers(required=True, metavar="COMMAND").add_parser("run", help="run until SIGTERM")
    run.add_argument(
        "--kubeconfig", help="path (default: the pod's ServiceAccount, else $KUBECONFIG or ~/.kube/config)"
    )
    run.add_argument("--context", help="context of the kubeconfig (default: its current one)")
    run.add_argument("--namespace", action="append", default=[], help="watch this namespace only; may be repeated")
    run.add_argument("--runtime-image", required=True, help="runtime image of resources that name none")
    run.add_argument(
        "--balancer-image",
        default="",
        help="image of HAProxy for routing.balancing Queue and Auto, with STOPSIGNAL SIGUSR1 (default: no balancers)",
    )
    run.add_argument("--cluster-domain", default="cluster.local", help="domain of the cluster's DNS names")
    run.add_argument(
        "--monitoring-namespace", action="append", default=[], help="may read the pods' metrics; repeatable"
    )
    run.add_argument(
        "--startup-cpu",
        type=_millicores,
        default=0,
        metavar="CPU",
        help="CPU that pods start with where the resource doesn't say, e.g. 1500m (default: what it grants)",
    )
    run.add_argument(
        "--allow-link-local", action="store_true", help="let models come from link-local and metadata addresses"
    )
    run.add_argument(
        "--policy",
        type=_policy,
        default=PlatformPolicy(),
        metavar="JSON",
        help="what resources may name: the chart's value `policy` as JSON (default: that of the chart)",
    )
    run.add_argument(
        "--upgrades-at-once",
        type=_positive_int,
        default=UPGRADES_AT_ONCE,
        metavar="N",
        help="resources whose pods may be rolled at a time because the operator, not the resource, has changed",
    )
    run.add_argument(
        "--injection-account",
        default="",
        metavar="NAME",
        help="ServiceAccount of the operator, set by the chart with its admission policies: they read from it",
    )
    run.add_argument(
        "--metrics-host", default="::", help="address of /metrics, /healthz and /readyz; :: is every one, IPv4 included"
    )
    run.add_argument("--metrics-port", type=int, default=9090, help="their port; 0 takes a free one")
    run.add_argument("--round-seconds", type=_positive, default=2.0, help="seconds between collections of reports")
    run.add_argument(
        "--resync-seconds",
        type=_positive,
        default=600.0,
        help="seconds between comparisons of what is known with lists, at most; a minute where there are few objects",
    )
    run.add_argument(
        "--lease",
        type=_lease,
        metavar="NAMESPACE/NAME",
        help="Lease to lead by, so that several operators may run; without it this one must be alone",
    )
    run.add_argument("--reports-via", choices=("auto", "pod", "proxy"), default="auto", help="how pods are asked")
    run.add_argument("--log-level", choices=("debug", "info", "warning", "error"), default="info")
    return parser


def _policy(text: str) -> PlatformPolicy:
    try:
        return msgspec.json.decode(text, type=PlatformPolicy)
    except msgspec.MsgspecError as error:
        raise argparse.ArgumentTypeError(f"not a policy: {error}") from error


def _lease(text: str) -> str:
    if len(text.split("/")) != 2 or not all(text.split("/")):
        raise argparse.ArgumentTypeError(f"{text} must be NAMESPACE/NAME")
    return text


def _millicores(text: str) -> int:
    try:
        return parse_millicores(text)
    except InvalidInput as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _positive_int(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} must be at least 1")
    return value


def _positive(text: str) -> float:
    value = float(text)
    if not value > 0:
        raise argparse.ArgumentTypeError(f"{text} must be above zero")
    return value
