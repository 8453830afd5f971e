"""What is decided before anything is run: addresses, names, cache keys, configurations, certificates, archives."""

import hashlib
import io
import json
import signal
import subprocess
import sys
import tarfile
import time
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path, PurePosixPath

import msgspec
import pytest
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st

from corefit_devcluster import network, record
from corefit_devcluster.errors import DevclusterError, NoFreeRangeError
from corefit_devcluster.oci import single_program
from corefit_devcluster.paths import Home
from corefit_devcluster.pki import Authority, kubeconfig
from corefit_devcluster.processes import Plan, Process, plan, supervisor_arguments
from corefit_devcluster.programs import FAMILIES
from corefit_devcluster.ranges import Ranges, allocate, candidates
from corefit_devcluster.render import files
from corefit_devcluster.settings import Settings
from corefit_devcluster.supervisor import GATE_SECONDS

NAMES = [program.name for family in FAMILIES for program in family.programs]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(
        name="dev",
        ranges=Ranges(IPv4Network("10.160.0.0/16")),
        paths=Home.of({"HOME": str(tmp_path)}).cluster("dev"),
        cgroup_root=PurePosixPath("/a/corefit-dev"),
        cgroup_v1=True,
        cni=Path("/usr/lib/cni"),
        snapshotter="overlayfs",
        programs={name: Path("/programs") / name for name in NAMES},
    )


def test_a_block_is_cut_into_ranges_that_do_not_overlap() -> None:
    ranges = allocate([])
    cut = [ranges.pods, ranges.services, ranges.link]
    assert all(part.subnet_of(ranges.block) for part in cut)
    assert not any(one.overlaps(other) for one in cut for other in cut if one is not other)
    assert ranges.host in ranges.link
    assert ranges.node in ranges.link
    assert ranges.dns_service in ranges.services


@given(st.lists(st.sampled_from(list(candidates())), max_size=100))
def test_a_free_block_overlaps_nothing_that_is_taken(taken: list[IPv4Network]) -> None:
    assert not any(allocate(taken).block.overlaps(network) for network in taken)


def test_a_default_route_is_no_obstacle_and_a_private_network_is() -> None:
    assert allocate([IPv4Network("0.0.0.0/0")]).block == IPv4Network("10.160.0.0/16")
    assert allocate([IPv4Network("10.0.0.0/8")]).block == IPv4Network("172.24.0.0/16")
    with pytest.raises(NoFreeRangeError, match="routed on this machine"):
        allocate(list(candidates()))


def test_routes_are_read_as_ip_prints_them() -> None:
    listed = '[{"dst":"default"},{"dst":"10.1.0.0/20"},{"dst":"10.9.0.1"},{"type":"local","dst":"fe80::1"}]'
    found = [str(route) for route in network._routes(listed)]
    assert found == ["0.0.0.0/0", "10.1.0.0/20", "10.9.0.1/32"]


@pytest.mark.parametrize("name", ["", "Dev", "1st", "a-", "twelve-chars", "../x"])
def test_names_that_no_interface_could_have_are_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(DevclusterError, match="cannot be a cluster's name"):
        Home.of({"HOME": str(tmp_path)}).cluster(name)


def test_folders_follow_xdg() -> None:
    home = Home.of({"HOME": "/h", "XDG_CACHE_HOME": "/c"})
    assert home.programs == Path("/c/corefit/devcluster/programs")
    assert home.cluster("dev").root == Path("/h/.local/state/corefit/devcluster/dev")


def test_the_cache_key_follows_pins_flags_and_platform() -> None:
    family = FAMILIES[0]
    pins = {"go.mod": b"a", "go.sum": b"b"}
    keys = {
        family.cache_key(pins, "Linux-x86_64"),
        family.cache_key({**pins, "go.sum": b"c"}, "Linux-x86_64"),
        family.cache_key(pins, "Linux-aarch64"),
        replace(family, tags=("x",)).cache_key(pins, "Linux-x86_64"),
        replace(family, cgo=True).cache_key(pins, "Linux-x86_64"),
    }
    assert len(keys) == 5
    assert family.cache_key(dict(reversed(pins.items())), "Linux-x86_64") in keys
    assert all(key.startswith("kubernetes-1.36.3-") for key in keys)


@pytest.mark.parametrize(
    ("name", "said", "good"),
    [
        ("kubelet", "Kubernetes v1.36.3\n", True),
        ("kubelet", "Kubernetes v1.36.30\n", False),
        ("kubectl", "Client Version: v1.32.4\nKustomize Version: v5.5.0\n", False),
        ("runc", "runc version 1.4.3\nspec: 1.3.0\nlibseccomp: 2.5.4\n", True),
        ("runc", "runc version 1.4.3\nspec: 1.3.0\n", False),
        ("helm", "v4.2.4+g1234567\n", True),
        ("pause", "anything", False),
    ],
)
def test_only_the_very_version_is_taken_from_the_machine(name: str, said: str, *, good: bool) -> None:
    program = next(program for family in FAMILIES for program in family.programs if program.name == name)
    assert program.accepts(said) is good


def test_configurations_say_where_things_are(settings: Settings) -> None:
    texts = files(settings)
    kubelet = json.loads(texts["kubelet.json"])
    assert kubelet["cgroupRoot"] == "/a/corefit-dev"
    assert kubelet["clusterDNS"] == ["10.160.128.10"]
    assert kubelet["failCgroupV1"] is False
    assert kubelet["runtimeRequestTimeout"] == "120s"
    slower = json.loads(files(replace(settings, deadline_scale=5.0))["kubelet.json"])
    assert slower["runtimeRequestTimeout"] == "600s"
    assert "failCgroupV1" not in json.loads(files(replace(settings, cgroup_v1=False))["kubelet.json"])
    runtime = tomllib.loads(texts["containerd.toml"])["plugins"]["io.containerd.cri.v1.runtime"]
    assert runtime["containerd"]["runtimes"]["runc"]["options"]["BinaryName"] == "/programs/runc"
    assert "bind 10.160.255.2" in texts["Corefile"]
    kinds = [item["kind"] for item in json.loads(texts["addons.json"])["items"]]
    assert "APIService" not in kinds
    with_metrics = json.loads(files(replace(settings, metrics_server=True))["addons.json"])["items"]
    assert "APIService" in [item["kind"] for item in with_metrics]


def test_processes_wait_for_what_they_need(settings: Settings) -> None:
    made = plan(settings)
    after = {process.name: process.after for process in made.processes}
    assert after["kube-apiserver"] == "tcp:127.0.0.1:2379"
    assert after["kube-scheduler"] == "https://10.160.255.2:6443/readyz"
    assert after["kubelet"].startswith("unix:")
    assert msgspec.json.decode(msgspec.json.encode(made), type=Plan) == made


def test_certificates_name_their_owner_and_addresses() -> None:
    authority = Authority("test")
    issuer = x509.load_pem_x509_certificate(authority.pair.certificate)
    pair = authority.server("api", [IPv4Address("10.0.0.1")], ["kubernetes"])
    server = x509.load_pem_x509_certificate(pair.certificate)
    server.verify_directly_issued_by(issuer)
    names = server.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.IPAddress) == [IPv4Address("10.0.0.1")]
    assert names.get_values_for_type(x509.DNSName) == ["kubernetes"]
    client = authority.client("system:node:n", "system:nodes")
    subject = x509.load_pem_x509_certificate(client.certificate).subject.rfc4514_string()
    assert subject == "CN=system:node:n,O=system:nodes"
    document = json.loads(kubeconfig("dev", "https://10.0.0.1:6443", authority.pair.certificate, client))
    assert document["current-context"] == "corefit-dev"


def test_an_archive_is_whole_and_the_same_each_time(tmp_path: Path) -> None:
    program = tmp_path / "pause"
    program.write_bytes(b"ELF")
    made = single_program(program, "corefit.local/pause:0.1", "x86_64")
    assert made == single_program(program, "corefit.local/pause:0.1", "x86_64")
    with tarfile.open(fileobj=io.BytesIO(made)) as archive:
        blobs = {m.name: handle.read() for m in archive if (handle := archive.extractfile(m)) is not None}
    for name, blob in blobs.items():
        if name.startswith("blobs/"):
            assert name.endswith(hashlib.sha256(blob).hexdigest())
    manifest = json.loads(blobs["index.json"])["manifests"][0]
    assert f"blobs/sha256/{manifest['digest'].removeprefix('sha256:')}" in blobs


def test_a_record_comes_back_and_a_broken_one_is_explained(tmp_path: Path) -> None:
    home = Home.of({"HOME": str(tmp_path)})
    paths = home.cluster("dev")
    paths.root.mkdir(parents=True)
    assert record.load(paths) is None
    kept = record.Record("dev", "10.161.0.0/16", "1.36.3", ["/c"], ["/p"])
    record.save(paths, kept)
    assert record.load_all(home) == [kept]
    assert record.parents(home) == {Path("/p")}
    paths.record.write_text("{")
    with pytest.raises(DevclusterError, match="rm -r"):
        record.load(paths)


@contextmanager
def _supervised(plan: Plan, file: Path) -> Iterator[subprocess.Popen[str]]:
    """A supervisor that has been released: its standard error is ours until then, its log is from then on."""
    file.write_bytes(msgspec.json.encode(plan))
    with subprocess.Popen(
        supervisor_arguments(file), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.stdin.write("go\n")
        process.stdin.flush()
        assert process.stdout.read() == ""
        yield process


def test_the_supervisor_restarts_what_ends_and_stops_when_told(tmp_path: Path) -> None:
    wanted = Plan([], {}, [Process("brief", ["/bin/true"])], {}, str(tmp_path), str(tmp_path / "report.json"))
    with _supervised(wanted, tmp_path / "plan.json") as process:
        log = tmp_path / "supervisor.log"
        with subprocess.Popen(["tail", "-n", "+1", "-F", log], stdout=subprocess.PIPE, text=True) as follow:
            assert follow.stdout is not None
            assert any("start 2" in line for line in follow.stdout)
            follow.terminate()
        process.terminate()
        assert process.wait(300) == 0
    assert "stopping on SIGTERM" in log.read_text()


def test_a_supervisor_that_was_stopped_goes_on(tmp_path: Path) -> None:
    """Python's `sigtimedwait` returns memory that nothing has written when its time runs out during a stop."""
    waiting = Process("waits", ["/bin/true"], f"unix:{tmp_path / 'nothing-listens-here'}")
    wanted = Plan([], {}, [waiting], {}, str(tmp_path), str(tmp_path / "report.json"))
    with _supervised(wanted, tmp_path / "plan.json") as process:
        for _ in range(5):
            process.send_signal(signal.SIGSTOP)
            time.sleep(3 * GATE_SECONDS)  # longer than the supervisor's own wait
            process.send_signal(signal.SIGCONT)
            time.sleep(GATE_SECONDS)
        assert process.poll() is None, (tmp_path / "supervisor.log").read_text()
        process.terminate()
        assert process.wait(300) == 0
    assert "stopping on SIGTERM" in (tmp_path / "supervisor.log").read_text()


def test_the_supervisor_ends_when_nobody_releases_it(tmp_path: Path) -> None:
    wanted = Plan([], {}, [], {}, str(tmp_path), str(tmp_path / "report.json"))
    (tmp_path / "plan.json").write_bytes(msgspec.json.encode(wanted))
    done = subprocess.run(
        supervisor_arguments(tmp_path / "plan.json"), input="", capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 1
    assert "the parent went away" in done.stderr
    assert sys.executable in supervisor_arguments(tmp_path)
