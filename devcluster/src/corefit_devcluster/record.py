"""What was made for a cluster, on disk, so that any later process can undo it."""

from ipaddress import IPv4Network
from pathlib import Path

import msgspec

from corefit_devcluster.errors import DevclusterError
from corefit_devcluster.paths import ClusterPaths, Home
from corefit_devcluster.ranges import Ranges


class Record(msgspec.Struct, frozen=True):
    """One cluster's record.

    Attributes:
        block: the /16 that it has.
        cgroups: its cgroup in every tree.
        cgroup_parents: folders above those that the devcluster made as well.
        metrics_server: whether it started with metrics-server.
    """

    name: str
    block: str
    kubernetes: str
    cgroups: list[str]
    cgroup_parents: list[str]
    metrics_server: bool = False

    @property
    def ranges(self) -> Ranges:
        """Its addresses."""
        return Ranges(IPv4Network(self.block))


def save(paths: ClusterPaths, record: Record) -> None:
    """Write the record, whole or not at all."""
    scratch = paths.record.with_suffix(".new")
    scratch.write_bytes(msgspec.json.format(msgspec.json.encode(record)) + b"\n")
    scratch.replace(paths.record)


def load(paths: ClusterPaths) -> Record | None:
    """Read the record; None when there is none."""
    try:
        return msgspec.json.decode(paths.record.read_bytes(), type=Record)
    except FileNotFoundError:
        return None
    except msgspec.MsgspecError as error:
        raise DevclusterError(
            f"{paths.record} cannot be read: {error}",
            hint=f"If that cluster is down, remove the folder: rm -r {paths.root}",
        ) from error


def load_all(home: Home) -> list[Record]:
    """Read the records of every cluster of this user."""
    records = (load(ClusterPaths(folder)) for folder in sorted(home.state.glob("*/")))
    return [record for record in records if record is not None]


def parents(home: Home) -> set[Path]:
    """Name the cgroups above clusters that some cluster's start has made."""
    return {Path(folder) for record in load_all(home) for folder in record.cgroup_parents}
