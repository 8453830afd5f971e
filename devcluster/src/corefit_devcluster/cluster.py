"""Bringing a cluster up and taking it down: the order of things, and nothing left behind.

Everything that is made is in the record before it is made, or recognisable by the cluster's name.
"""

import platform
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import msgspec

from corefit_devcluster import cgroups, credentials, disk, network, ready, record, render
from corefit_devcluster.build import link_programs
from corefit_devcluster.containers import import_archive
from corefit_devcluster.deadlines import scale
from corefit_devcluster.errors import DevclusterError, UnsupportedHostError
from corefit_devcluster.host import cni_folder
from corefit_devcluster.keeper import Birth, end, find
from corefit_devcluster.locks import locked
from corefit_devcluster.mounts import on_overlay
from corefit_devcluster.oci import single_program
from corefit_devcluster.paths import ClusterPaths, Home
from corefit_devcluster.processes import plan
from corefit_devcluster.programs import KUBERNETES
from corefit_devcluster.progress import Reporter
from corefit_devcluster.ranges import allocate
from corefit_devcluster.settings import SANDBOX_IMAGE, Settings

METRICS_SERVER = "metrics-server"
# The cluster has folders of its own in these places: nothing that it needs may be below the host's.
HIDDEN = (Path("/run"), Path("/var/run"), Path("/var/lib"), Path("/var/log"))


def up(home: Home, name: str, programs: Mapping[str, Path], reporter: Reporter) -> bool:
    """Make the cluster run and be ready; False when it already was."""
    paths = home.cluster(name)
    with _exclusive(home, name):
        known = record.load(paths)
        if known is not None and find(paths) is not None:
            return _await_running(_settings(paths, known, programs), reporter)
        clean(home, name)
        try:
            with reporter.step(f"Starting cluster {name!r} (about 20 s)", total=5) as step:
                ready.wait(_start(home, name, programs, reporter.say), step)
        except BaseException:  # ^C included: half a cluster is of use to nobody, its logs are
            clean(home, name, keep_logs=True)
            raise
        return True


def require_metrics_server(home: Home, name: str) -> None:
    """Refuse a cluster that runs without metrics-server: it gets one only when it starts.

    Raises:
        DevclusterError: it runs without.
    """
    paths = home.cluster(name)
    known = record.load(paths)
    if known is not None and not known.metrics_server and find(paths) is not None:
        raise DevclusterError(
            f"cluster {name!r} runs without metrics-server, and gets it only when it starts",
            hint=f"corefit-devcluster down --name {name}, then up --name {name} --metrics-server",
        )


def _await_running(settings: Settings, reporter: Reporter) -> bool:
    """Wait for a cluster that is up already; one that is slow is not ours to end."""
    if ready.ready(ready.checks(settings.paths, settings.node, str(settings.address))):
        return False
    with reporter.step(f"Waiting for cluster {settings.name!r}", total=5) as step:
        ready.wait(settings, step)
    return True


def down(home: Home, name: str) -> bool:
    """End the cluster and remove every trace of it; False when there was none."""
    with _exclusive(home, name) as lock:
        was = clean(home, name)
        lock.unlink(missing_ok=True)
        return was


def clean(home: Home, name: str, *, keep_logs: bool = False) -> bool:
    """Remove whatever there is of a cluster, running or left by a crash."""
    paths = home.cluster(name)
    ended = end(paths)
    network.disconnect(f"cf-{name}")
    known = record.load(paths) if paths.root.exists() else None
    layout = _layout(name)
    folders = [Path(folder) for folder in known.cgroups] if known else layout.folders()
    cgroups.remove(folders, [Path(folder) for folder in known.cgroup_parents] if known else [])
    existed = paths.root.exists()
    for entry in paths.root.iterdir() if existed else ():
        if keep_logs and entry == paths.logs:
            continue
        shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()
    if existed and not keep_logs:
        paths.root.rmdir()
    return ended or existed


def _layout(name: str) -> cgroups.Layout:
    return cgroups.locate(name, Path("/proc/self/cgroup").read_text(), Path("/proc/self/mountinfo").read_text())


def _start(home: Home, name: str, programs: Mapping[str, Path], say: Callable[[str], None]) -> Settings:
    paths = home.cluster(name)
    _refuse_hidden(paths.root, *programs.values())
    for folder in (paths.logs, paths.data, paths.config / "cni"):
        folder.mkdir(parents=True, exist_ok=True)
    settings = _settings(paths, _prepare_record(home, name, say, metrics_server=METRICS_SERVER in programs), programs)
    _write_files(settings)
    birth = Birth(paths)
    pid = birth.begin()
    network.connect(settings, pid)
    birth.release()
    _import_sandbox(settings)
    return settings


def _prepare_record(home: Home, name: str, say: Callable[[str], None], *, metrics_server: bool) -> record.Record:
    """Choose addresses and make the cgroups; one cluster at a time, so that no two choose the same."""
    paths, layout = home.cluster(name), _layout(name)
    with locked(home.state / ".lock"):
        taken = [other.ranges.block for other in record.load_all(home)] + network.taken()
        made = {*cgroups.make(layout, say), *_shared_parents(home, layout)}
        fresh = record.Record(
            name=name,
            block=str(allocate(taken).block),
            kubernetes=KUBERNETES,
            cgroups=[str(folder) for folder in layout.folders()],
            cgroup_parents=sorted(str(folder) for folder in made),
            metrics_server=metrics_server,
        )
        record.save(paths, fresh)
    return fresh


def _shared_parents(home: Home, layout: cgroups.Layout) -> set[Path]:
    """Name those of our parents that another cluster's start has made: whoever goes last removes them."""
    above = {parent for folder in layout.folders() for parent in folder.parents}
    return record.parents(home) & above


def _settings(paths: ClusterPaths, known: record.Record, programs: Mapping[str, Path]) -> Settings:
    layout, plugins = _layout(known.name), cni_folder()
    if plugins is None:
        raise UnsupportedHostError("the CNI plugins are missing", hint="apt-get install containernetworking-plugins")
    file = disk.for_images(paths.data)
    return Settings(
        name=known.name,
        ranges=known.ranges,
        paths=paths,
        cgroup_root=layout.root,
        cgroup_v1=not layout.unified_only,
        cni=plugins,
        snapshotter="native" if file is None and on_overlay(paths.root) else "overlayfs",
        disk=file,
        programs=programs,
        metrics_server=known.metrics_server,
        deadline_scale=scale(),
    )


def _refuse_hidden(*needed: Path) -> None:
    for path in needed:
        inside = next((folder for folder in HIDDEN if path.resolve().is_relative_to(folder)), None)
        if inside is not None:
            raise UnsupportedHostError(
                f"{path} is below {inside}, which the cluster has one of its own of",
                hint="Set XDG_STATE_HOME and XDG_CACHE_HOME to folders elsewhere.",
            )


def _write_files(settings: Settings) -> None:
    paths = settings.paths
    link_programs(settings.programs, paths.bin)
    credentials.write(settings)
    for name, text in render.files(settings).items():
        (paths.config / name).write_text(text)
    paths.plan.write_bytes(msgspec.json.encode(plan(settings)))


def _import_sandbox(settings: Settings) -> None:
    archive = settings.paths.data / "pause.tar"
    archive.write_bytes(single_program(settings.programs["pause"], SANDBOX_IMAGE, platform.machine()))
    import_archive(settings.paths, archive)


@contextmanager
def _exclusive(home: Home, name: str) -> Iterator[Path]:
    """Let one command at a time change a cluster; the lock is beside its folder, which may come and go."""
    home.cluster(name)
    home.state.mkdir(parents=True, exist_ok=True)
    lock = home.state / f".{name}.lock"
    with locked(lock):
        yield lock
