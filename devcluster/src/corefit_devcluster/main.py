"""The command line: a real Kubernetes on one machine, for development and demo. The composition root."""

import argparse
import os
import shlex
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
from rich.console import Console
from rich.table import Table

from corefit_devcluster import cluster, contexts, needs, quota, ready, record
from corefit_devcluster.build import Builder, search_folders
from corefit_devcluster.containers import import_archive
from corefit_devcluster.contexts import IMAGES
from corefit_devcluster.errors import DevclusterError, NotRunningError
from corefit_devcluster.host import install, missing_cni, missing_packages, require_linux_root
from corefit_devcluster.images import ImageBuilder
from corefit_devcluster.modules import MODULES, fetch
from corefit_devcluster.paths import ClusterPaths, Home
from corefit_devcluster.programs import FAMILIES, KUBERNETES, METRICS_SERVER
from corefit_devcluster.progress import Reporter

DESCRIPTION = f"""\
A real Kubernetes {KUBERNETES} on this one machine: etcd, API server, controllers, kubelet, containerd, CoreDNS.
A tool for development and demo, not for production: nothing is kept, nothing is highly available.

The cluster lives in namespaces of its own; the host sees one network interface and two routes. Needs Linux and root.
"""
DEFAULT_NAME = "dev"
# What `env` exports, so that the other commands in the same shell mean the same cluster.
NAME_VARIABLE = "COREFIT_DEVCLUSTER"


class App:
    """The commands, over the folders and the terminal that they work with."""

    def __init__(self, home: Home, reporter: Reporter, console: Console) -> None:
        self._home = home
        self._reporter = reporter
        self._console = console

    def build(self, arguments: argparse.Namespace) -> int:
        """Find or build the programs."""
        families = [*FAMILIES, METRICS_SERVER] if arguments.metrics_server else FAMILIES
        if arguments.which is None:
            self._builder().ensure(families)
            self._reporter.say(f"All programs are there: {self._home.programs}")
            return 0
        wanted = [family for family in families if arguments.which in {program.name for program in family.programs}]
        if not wanted:
            known = sorted(program.name for family in families for program in family.programs)
            raise DevclusterError(f"no program {arguments.which!r}; there are {', '.join(known)}")
        print(self._builder().ensure(wanted)[arguments.which])
        return 0

    def up(self, arguments: argparse.Namespace) -> int:
        """Start the cluster."""
        require_linux_root("A cluster")
        install(missing_packages(needs.CLUSTER) + missing_cni(), self._reporter)
        families = [*FAMILIES, METRICS_SERVER] if arguments.metrics_server else FAMILIES
        if arguments.metrics_server:
            cluster.require_metrics_server(self._home, arguments.name)
        programs = self._builder().ensure(families)
        begun = time.monotonic()
        started = cluster.up(self._home, arguments.name, programs, self._reporter)
        how = f"is up after {time.monotonic() - begun:.0f} s" if started else "was up already"
        self._reporter.say(f'Cluster {arguments.name!r} {how}. Use it:  eval "$({_self(arguments.name)})"')
        return 0

    def down(self, arguments: argparse.Namespace) -> int:
        """Stop the cluster and remove every trace of it."""
        require_linux_root("Taking a cluster down")
        there = cluster.down(self._home, arguments.name)
        self._reporter.say(f"Cluster {arguments.name!r} {'is gone' if there else 'was not there'}.")
        return 0

    def status(self, arguments: argparse.Namespace) -> int:
        """Show whether the cluster is ready."""
        paths, known = self._known(arguments.name)
        checks = ready.checks(paths, f"corefit-{arguments.name}", str(known.ranges.node))
        if arguments.json:
            self._print_json(paths, known, checks)
        else:
            self._print_table(paths, known, checks)
        return 0 if ready.ready(checks) else 1

    def env(self, arguments: argparse.Namespace) -> int:
        """Print the shell's variables for the cluster."""
        paths, _ = self._known(arguments.name)
        print(f"export KUBECONFIG={shlex.quote(str(paths.kubeconfig))}")
        print(f"export PATH={shlex.quote(str(paths.bin))}:$PATH")
        print(f"export {NAME_VARIABLE}={arguments.name}")
        return 0

    def load_images(self, arguments: argparse.Namespace) -> int:
        """Import image archives."""
        require_linux_root("Loading images")
        paths, _ = self._known(arguments.name)
        for archive in arguments.archives:
            if not archive.is_file():
                raise DevclusterError(f"there is no file {archive}")
            with self._reporter.step(f"Loading {archive.name}"):
                self._reporter.say(import_archive(paths, archive))
        return 0

    def images(self, arguments: argparse.Namespace) -> int:
        """Build the operator's and the runtime's images, or only what their Dockerfiles need."""
        if arguments.context is not None:
            for image in IMAGES:
                target = arguments.context / image.folder
                with self._reporter.step(f"Writing the build context {target}"):
                    contexts.write(image, target)
                print(target)
            return 0
        require_linux_root("Building images")
        for archive in ImageBuilder(self._home, self._reporter).ensure():
            print(archive)
        return 0

    def quota(self, arguments: argparse.Namespace) -> int:
        """Give a cgroup a CPU quota, or remove it."""
        if arguments.remove:
            quota.remove(arguments.cgroup)
        else:
            print(quota.grant(arguments.cgroup, arguments.millicores, self._reporter.say))
        return 0

    def files(self, arguments: argparse.Namespace) -> int:
        """Fetch the files of a Go module."""
        wanted = next(module for module in MODULES if module.name == arguments.module)
        print(fetch(wanted, self._home, self._reporter))
        return 0

    def _known(self, name: str) -> tuple[ClusterPaths, record.Record]:
        paths = self._home.cluster(name)
        known = record.load(paths)
        if known is None:
            raise NotRunningError(f"cluster {name!r} is not up", hint=f"corefit-devcluster up --name {name}")
        return paths, known

    def _builder(self) -> Builder:
        return Builder(self._home, self._reporter, search_folders(os.environ))

    def _print_json(self, paths: ClusterPaths, known: record.Record, checks: Sequence[ready.Check]) -> None:
        document = {
            "name": known.name,
            "ready": ready.ready(checks),
            "kubernetes": known.kubernetes,
            "kubeconfig": str(paths.kubeconfig),
            "node": f"corefit-{known.name}",
            "address": str(known.ranges.node),
            "pods": str(known.ranges.pods),
            "services": str(known.ranges.services),
            "audit_log": str(paths.audit),
            "logs": str(paths.logs),
            "checks": list(checks),
            "processes": ready.processes(paths),
        }
        print(msgspec.json.format(msgspec.json.encode(document)).decode())

    def _print_table(self, paths: ClusterPaths, known: record.Record, checks: Sequence[ready.Check]) -> None:
        table = Table(title=f"cluster {known.name}: Kubernetes {known.kubernetes}", title_justify="left")
        for column in ("what", "state", "detail"):
            table.add_column(column, overflow="fold")
        for check in checks:
            table.add_row(check.name, "[green]ready[/]" if check.good else "[red]not ready[/]", check.detail)
        for state in ready.processes(paths):
            detail = f"pid {state.pid} in the namespace, starts {state.starts}"
            table.add_row(state.name, "running" if state.pid else "[red]down[/]", detail)
        for name, value in (
            ("pods", known.ranges.pods),
            ("services", known.ranges.services),
            ("kubeconfig", paths.kubeconfig),
            ("audit log", paths.audit),
            ("logs", paths.logs),
        ):
            table.add_row(name, "", str(value))
        self._console.print(table)


def _self(name: str) -> str:
    option = "" if name == DEFAULT_NAME else f" --name {name}"
    return f"corefit-devcluster env{option}"


def parser(app: App) -> argparse.ArgumentParser:
    """Describe the command line."""
    root = argparse.ArgumentParser(
        prog="corefit-devcluster", description=DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = root.add_subparsers(required=True, metavar="COMMAND")
    default_name = os.environ.get(NAME_VARIABLE) or DEFAULT_NAME
    named_help = (
        f"the cluster's name (default: %(default)s); `env` exports it as {NAME_VARIABLE}, which all commands read"
    )

    def command(
        name: str, run: Callable[[argparse.Namespace], int], text: str, *, named: bool = True
    ) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=text, description=text)
        sub.set_defaults(run=run)
        if named:
            sub.add_argument("--name", default=default_name, help=named_help)
        return sub

    up = command("up", app.up, "start the cluster, building its programs once; does nothing when it is up")
    build = command("build", app.build, "find or build the programs, and no more", named=False)
    build.add_argument(
        "--which", metavar="PROGRAM", help="find or build this program alone, e.g. helm, and print where it is"
    )
    for sub in (up, build):
        sub.add_argument("--metrics-server", action="store_true", help="with metrics-server, for kubectl top and HPAs")
    command("down", app.down, "stop the cluster and remove every trace of it, also what a crash has left")
    status = command("status", app.status, "show the cluster's state; exit status 0 only when it is ready")
    status.add_argument("--json", action="store_true", help="for programs")
    command("env", app.env, 'print KUBECONFIG, PATH and the name for a shell: eval "$(corefit-devcluster env)"')
    load = command("load-images", app.load_images, "import OCI image archives into the cluster")
    load.add_argument("archives", nargs="+", type=Path, metavar="ARCHIVE")
    files = command("files", app.files, "fetch files of others, such as CRDs; print the folder", named=False)
    files.add_argument("module", choices=[module.name for module in MODULES])
    limit = command("quota", app.quota, "make a cgroup with a CPU quota; print its file cgroup.procs", named=False)
    limit.add_argument("cgroup", metavar="NAME", help="of the cgroup, which is called corefit-quota-NAME")
    what = limit.add_mutually_exclusive_group(required=True)
    what.add_argument("--millicores", type=int, metavar="N", help="the quota, which may change while programs run")
    what.add_argument("--remove", action="store_true", help="remove the cgroup after its programs have ended")
    images = command("images", app.images, "build the images; print an archive for load-images a line", named=False)
    images.add_argument(
        "--context", type=Path, metavar="FOLDER", help="only write FOLDER/operator and FOLDER/runtime for docker build"
    )
    return root


def main() -> None:
    """Run the command that was asked for."""
    app = App(Home.of(os.environ), Reporter(Console(stderr=True)), Console())
    arguments = parser(app).parse_args()
    try:
        sys.exit(arguments.run(arguments))
    except DevclusterError as error:
        sys.exit(f"corefit-devcluster: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
