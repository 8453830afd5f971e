"""Every command in the code blocks of README, docs and examples is run, as a reader would type it, page by page.

`documented.unrun` lists the few that are not, with reasons; a command that is added to a page is run here by itself. A
page has a namespace of its own and a copy of the repository's files; the reader's placeholders are filled in below.
"""

import re
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import pytest
from documented.pages import ROOT, block_commands, installable_programs, named_files, pages
from documented.unrun import reason
from rich.console import Console

from corefit_devcluster.host import program
from corefit_devcluster.progress import Reporter

pytestmark = pytest.mark.cluster
PATIENCE_S: Final = 600
"""Seconds for the page's own waits, and for a port to open: this machine's neighbours take its CPU for minutes."""
SERVED: Final = ("kubectl apply -k examples", "kubectl apply -f examples/digits/inferenceservice.yaml")
TIMEOUT: Final = "--timeout=180s"
WAIT: Final = f"kubectl wait --for=condition=Ready cfis/digits {TIMEOUT}"


class Page(NamedTuple):
    """What a page takes for granted, and what its commands print.

    Attributes:
        before: commands of other pages that the reader has typed by then.
        claims: whether the cluster has to have a volume for a claim named models.
        says: patterns that must be found in what the commands print together.
    """

    before: tuple[str, ...] = ()
    claims: bool = False
    says: tuple[str, ...] = ()


PAGES: Final = {
    "README.md": Page(says=(r"digits +1/1 +Serving", r"workers +3", r"ok +│ +\d+")),
    "docs/bring-your-own-model.md": Page(
        says=(
            r"my-model +1/1 +Serving",
            r'"data":\s*\[\s*0\s*\]',
            r"label \[0, 2\]",
            r"file:///mnt/my-model/model.onnx +2 ",
        )
    ),
    "docs/devcluster.md": Page(says=(r"digits +1/1 +Serving",)),
    "docs/model-sources.md": Page(claims=True, says=("digits-from-claim condition", "digits-from-file condition")),
    "docs/operations.md": Page((*SERVED, WAIT), says=("Progressing", r"http://models/digits.onnx", "condition met")),
    "docs/security.md": Page(says=("secret/models created",)),
    "docs/sidecar.md": Page(
        (
            SERVED[0],
            "kubectl apply -k examples/sidecar",
            f"kubectl wait --for=condition=Injectable cfis/digits {TIMEOUT}",
        ),
        says=("deployment.apps/draw", "name: corefit-runtime"),
    ),
    "examples/README.md": Page(says=(r"digits +1/1 +Serving",)),
    "examples/digits/README.md": Page((*SERVED, WAIT), says=(r'"label"', r'"data":\s*\[\s*0\s*\]')),
    "examples/load-model/README.md": Page(says=(r"load-model +\d/\d", r"ok +│ +\d+")),
    "examples/sidecar/README.md": Page(says=(r"digits +\d/\d",)),
}
RUN: Final = tuple(page for page in pages() if any(not reason(text) for text in block_commands(page)))


def test_every_page_with_commands_is_known_here() -> None:
    assert set(RUN) == set(PAGES), "say in PAGES what the page takes for granted and what its commands print"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module", autouse=True)
def readers_machine() -> None:
    """A reader has curl; a bare machine has not."""
    for name in sorted(installable_programs()):
        program(name, Reporter(Console(stderr=True)))


@pytest.fixture
def shell(operator: Any, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Any]:
    """A namespace, and a folder with the repository's files, for the page that the test is of."""
    kube = type(operator)(
        operator.environment, f"docs-{re.sub('[^a-z]+', '-', request.node.callspec.params['page'].lower())}"
    )
    kube.kubectl("create", "namespace", kube.namespace)
    kube.kubectl("label", "namespace", kube.namespace, "pod-security.kubernetes.io/enforce=restricted")
    for folder in ("examples", "charts", "crds"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    config = tmp_path / "kubeconfig"
    config.write_text(kube.kubectl("config", "view", "--raw", "--minify"))
    kube.run("kubectl", f"--kubeconfig={config}", "config", "set-context", "--current", f"--namespace={kube.namespace}")
    yield kube
    kube.kubectl("delete", "namespace", kube.namespace, "--wait=false")


@pytest.fixture
def volume(shell: Any) -> Iterator[Callable[[], None]]:
    """Makes a volume for the claim that docs/model-sources.md makes: a cluster of this machine has no StorageClass."""
    name, folder = f"{shell.namespace}-models", tempfile.mkdtemp()
    Path(folder).chmod(0o777)

    def make() -> None:
        claim = {"namespace": shell.namespace, "name": "models"}
        spec = {"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "claimRef": claim}
        spec |= {"hostPath": {"path": folder}, "storageClassName": "", "persistentVolumeReclaimPolicy": "Retain"}
        shell.apply({"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": name}, "spec": spec})

    yield make
    shell.kubectl("delete", "pv", name, "--ignore-not-found", "--wait=false")
    shutil.rmtree(folder)


INSTALLED: Final = f"--set crds.install=false --values {ROOT}/devcluster/chart-values.yaml"


def _typed(text: str, kube: Any, port: int) -> str:
    """A command as the reader of this cluster types it."""
    for pattern, put in (
        (r"\bREGISTRY\b", "corefit.local"),
        (r"\bTOKEN\b", "s3cret"),
        (r"\b(cfis[ /])NAME\b", r"\1digits"),
        (r"\bURL\b", "http://digits:8080/v2/models/digits/infer"),
        (r"(localhost|127\.0\.0\.1):8080", rf"\1:{port}"),
        (r"(port-forward \S+) \d+:", rf"\1 {port}:"),
        (r"--timeout=180s", f"--timeout={PATIENCE_S}s"),
        (r"--duration 60s", "--duration 2s"),
        # The operator of the other tests is installed already, beside a CRD that kubectl made; they need its values.
        (r"helm (upgrade --)?install corefit", f"helm upgrade --install {INSTALLED} corefit"),
    ):
        text = re.sub(pattern, put, text)
    if "http://digits:8080" in text:
        text = text.replace("http://digits:8080", kube.address("digits"))
    return text


def _script(commands: list[str], kube: Any, port: int) -> str:
    """The commands with a line before each that says which, and a wait for a forwarded port."""
    lines = ["set -eo pipefail", "trap 'kill $(jobs -p) 2>/dev/null || true' EXIT"]
    for number, text in enumerate(commands):
        typed = text
        lines.append(f"echo '+++ {number}'")
        if "port-forward" in typed:
            # One that runs on until it is ended; on a page with two the later one takes the port over.
            typed = re.sub(r"\s*(&\s*)?(#.*)?$", "", typed)
            opened = f"(exec 3<>/dev/tcp/127.0.0.1/{port}) 2>/dev/null"
            lines.append("kill $(jobs -p) 2>/dev/null && wait || true")
            typed = f"{typed} &\nfor _ in $(seq {5 * PATIENCE_S}); do {opened} && break; sleep 0.2; done\n{opened}"
        lines.append(typed)
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize("page", RUN)
def test_commands_do_what_the_page_says(shell: Any, volume: Callable[[], None], tmp_path: Path, page: str) -> None:
    known, port = PAGES[page], _free_port()
    for name, body in named_files(page).items():
        (tmp_path / name).write_text(body.replace("localhost:8080", f"localhost:{port}"))
    if known.claims:
        volume()
    commands = [*known.before, *(text for text in block_commands(page) if not reason(text))]
    printed = ""
    for chunk in _chunks(commands):
        typed = [_typed(text, shell, port) for text in chunk]
        done = _bash(_script(typed, shell, port), shell, tmp_path)
        printed += done.stdout
        last = re.findall(r"^\+\+\+ (\d+)$", done.stdout, re.MULTILINE)
        assert done.returncode == 0, f"{page}: {typed[int(last[-1])] if last else ''}\n{done.stdout}{done.stderr}"
    for pattern in known.says:
        assert re.search(pattern, printed), f"{page}: {pattern} is not in\n{printed}"


def _chunks(commands: list[str]) -> Iterator[list[str]]:
    """One script, but for what needs an address that the commands before make."""
    chunk: list[str] = []
    for text in commands:
        if re.search(r"\bURL\b", text):
            yield chunk
            chunk = []
        chunk.append(text)
    yield chunk


def _bash(script: str, kube: Any, folder: Path) -> "subprocess.CompletedProcess[str]":
    programs = f"{Path(sys.executable).parent}:{kube.environment['PATH']}"
    environment = {**kube.environment, "PATH": programs, "KUBECONFIG": str(folder / "kubeconfig")}
    return subprocess.run(
        ["bash", "-c", script], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
