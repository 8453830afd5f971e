"""Every command in README, docs and examples speaks of what there is: targets, options, files, values, ports."""

import itertools
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
import yaml
from documented.pages import (
    PROGRAMS,
    ROOT,
    Command,
    block_commands,
    commands,
    installable_programs,
    named_files,
    pages,
    split,
)
from documented.unrun import UNRUN, reason

OURS = ("corefit", "corefit-devcluster", "corefit-operator", "corefit-runtime")
FILE_OPTIONS = ("-f", "-k", "--filename", "--service", "--kustomize")
GIVEN = re.compile(r"[A-Z][A-Z_]+")
"""A word that the reader puts something else for."""


def _simple(text: str) -> Iterator[list[str]]:
    """The simple commands of a line, as words, without settings before them and without a here-document's text."""
    words = shlex.shlex(text.split("<<", 1)[0].replace("\\\n", " "), posix=True, punctuation_chars=True)
    words.whitespace_split = True
    found: list[str] = []
    for word in [*words, ";"]:
        if word in (";", "|", "&&", "||", "&", "(", ")"):
            while found and re.fullmatch(r"[A-Z_]+=.*", found[0]):
                found = found[1:]
            if found:
                yield found
            found = []
        else:
            found.append(word)


@cache
def _help(*command: str) -> str:
    """What a program of ours says to --help; empty where it knows no such command."""
    program = Path(sys.executable).parent / command[0]
    done = subprocess.run([program, *command[1:], "--help"], capture_output=True, text=True, check=False)
    return done.stdout if done.returncode == 0 else ""


def _of_ours(words: list[str]) -> Iterator[str]:
    named = words[:2] if len(words) > 1 and not words[1].startswith("-") else words[:1]
    known = _help(*named)
    if not known:
        yield f"{words[0]} has no command {words[1]}"
    options = [word.split("=")[0] for word in words if word.startswith("--")]
    yield from (f"{' '.join(named)} has no option {o}" for o in options if not re.search(rf"{o}\b", known))


def _of_make(words: list[str]) -> Iterator[str]:
    targets = re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    asked = [word for word in words[1:] if "=" not in word and not word.endswith("…")]
    yield from (f"make has no target {target}" for target in asked if target not in targets)


def _of_helm(words: list[str]) -> Iterator[str]:
    values = yaml.safe_load((ROOT / "charts/corefit/values.yaml").read_text())
    for value in [words[i + 1] for i, word in enumerate(words) if word == "--set"]:
        there = values
        for key in value.split("=")[0].split("."):
            there = there.get(key, ...) if isinstance(there, dict) else ...
        if there is ...:
            yield f"the chart has no value {value}"
    yield from (f"there is no chart {w}" for w in words if w.startswith("charts/") and not (ROOT / w).is_dir())


@cache
def _ports() -> dict[str, set[int]]:
    """The ports of the Services that pages and examples make; those of an InferenceService are 8080."""
    texts = [path.read_text() for path in (ROOT / "examples").rglob("*.yaml")]
    texts += [body for command in commands() for body in re.findall(r"<<EOF\n(.*?)\nEOF", command.text, re.DOTALL)]
    ports: dict[str, set[int]] = {}
    for document in (each for text in texts for each in yaml.safe_load_all(text) if each):
        name = document.get("metadata", {}).get("name", "")
        if document["kind"] == "InferenceService" and document["spec"].get("mode") != "Sidecar":
            ports.setdefault(name, set()).add(8080)
        elif document["kind"] == "Service":
            ports.setdefault(name, set()).update(port["port"] for port in document["spec"]["ports"])
    return ports


def _of_kubectl(words: list[str]) -> Iterator[str]:
    # Without a name it is how pages say what not to type.
    for word in words[1:] if words != ["kubectl", "get", "inferenceservice"] else ():
        if re.fullmatch(r"inferenceservices?(/.*)?", word):
            yield f"{word} may be KServe's: say cfis, or inferenceservices.serving.corefit.dev"
    if "port-forward" in words:
        service = next((w.partition("/")[2] for w in words if w.startswith("service/")), "")
        port = next((int(w.split(":")[1]) for w in words if re.fullmatch(r"\d+:\d+", w)), 0)
        if service and port not in _ports().get(service, ()):
            yield f"the Service {service} has no port {port}"


def _of_files(words: list[str], folder: Path) -> Iterator[str]:
    for option, name in itertools.pairwise(words):
        if option in FILE_OPTIONS and name not in ("-", "FILE") and not (folder / name).exists():
            yield f"there is no {name}"
    if words[0] in ("pytest", "python", "python3", "sed"):
        for name in (word for word in words[1:] if re.fullmatch(r"[\w*/.-]+/[\w*.-]+", word)):
            if not list(folder.glob(name.split("::")[0])):
                yield f"there is no {name}"


def faults(text: str, folder: Path = ROOT) -> list[str]:
    """What is wrong with a command by the looks of it."""
    found: list[str] = []
    for words in _simple(text):
        checks = {"make": _of_make, "helm": _of_helm, "kubectl": _of_kubectl} | dict.fromkeys(OURS, _of_ours)
        if words[0] in checks:
            found += checks[words[0]](words)
        found += _of_files(words, folder)
    return found


def _folder(command: Command) -> Path:
    """Where a block's command is typed: the root, or where a `cd` before it leads."""
    here = ROOT
    for text in block_commands(command.page) if command.block else ():
        if text == command.text:
            break
        if text.startswith("cd "):
            here = ROOT / text.split()[1]
    return here


@pytest.mark.parametrize("page", pages())
def test_commands_speak_of_what_there_is(page: str) -> None:
    own = [command for command in commands() if command.page == page]
    wrong = {c.text: found for c in own if (found := faults(c.text, _folder(c)))}
    assert wrong == {}


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("kubectl port-forward service/digits 8080:80", "no port 80"),
        ("kubectl get inferenceservice digits", "KServe's"),
        ("kubectl wait --for=condition=Ready inferenceservice/digits", "KServe's"),
        ("kubectl apply -f examples/digits/service.yaml", "there is no examples/digits/service.yaml"),
        ("make demonstration", "no target demonstration"),
        ("KEEP=1 make demo && make tests", "no target tests"),
        ("helm install corefit charts/corefit --set image.repo=x", "no value image.repo=x"),
        ("corefit plan --cpus-limit 2", "no option --cpus-limit"),
        ("corefit draw", "has no command"),
        ("pytest tests/unit/test_nothing.py", "there is no tests/unit/test_nothing.py"),
    ],
)
def test_a_command_that_speaks_of_what_is_not_there_is_found(text: str, fault: str) -> None:
    assert any(fault in found for found in faults(text))


def test_each_reason_not_to_run_a_command_is_still_needed() -> None:
    texts = [command.text for command in commands() if command.block]
    idle = [pattern for pattern in UNRUN if not any(re.match(pattern, text) for text in texts)]
    assert idle == []


def test_most_commands_of_blocks_are_run() -> None:
    texts = [command.text for command in commands() if command.block]
    assert len(texts) > 40
    assert sum(not reason(text) for text in texts) >= 0.6 * len(texts)


def test_programs_of_ours_are_named_as_an_activated_shell_finds_them() -> None:
    """`make setup` puts uv into .uv/bin where the machine has none: `uv run` is then not found."""
    assert [command.text for command in commands() if re.search(r"\buv run\b", command.text)] == []
    readme = (ROOT / "README.md").read_text()
    assert readme.index(". .venv/bin/activate") < min(
        readme.index(f"\n{name} ") for name in ("corefit plan", "helm install")
    )
    first = {
        "docs/devcluster.md": "corefit-devcluster up",
        "docs/bring-your-own-model.md": "```",
        "examples/README.md": "```",
    }
    for page, command in first.items():
        text = (ROOT / page).read_text()
        assert text.index(". .venv/bin/activate") < text.index(command), page


@pytest.mark.skipif(shutil.which("make") is None, reason="asks make")
def test_make_says_where_the_programs_are() -> None:
    printed = subprocess.run(["make", "-n", "setup"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert "The programs corefit and corefit-devcluster are in .venv/bin: . .venv/bin/activate" in printed
    helped = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert re.search(r"^  make setup\s", helped, re.MULTILINE)


def test_python_that_pages_give_in_full_compiles() -> None:
    files = {name: body for page in pages() for name, body in named_files(page).items()}
    assert files
    for name, body in files.items():
        compile(body, name, "exec")


@pytest.mark.skipif(shutil.which("bash") is None, reason="commands are split by bash")
def test_a_script_is_split_into_its_commands() -> None:
    script = 'a b \\\n  c\n\n# no command\nd <<EOF\ne\nEOF\nf "g\nh" | i  # j\n'
    assert list(split(script)) == ["a b \\\n  c", "d <<EOF\ne\nEOF", 'f "g\nh" | i  # j']


def test_what_a_readers_machine_may_lack_is_installed_for_the_tests() -> None:
    """In a bare Debian two pages ended with `curl: command not found`."""
    given = {"make", "sed", "python", "python3", "pip", "uv", "docker"}
    ours = {"kubectl", "helm", "corefit", "corefit-devcluster", "corefit-operator", "corefit-runtime", "pytest"}
    assert set(PROGRAMS) == given | ours | installable_programs()
