"""Every command that README, docs and examples show: from code blocks (`sh`, `console`) and from the text itself.

A command of a block is run on the cluster (`tests/e2e/test_documented_commands.py`) unless `unrun.py` lists it; those,
and the ones in the text, are held against what there is (`tests/unit/test_documented_commands.py`).
"""

import re
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Final, NamedTuple

from corefit_devcluster.needs import PACKAGES

ROOT: Final = Path(__file__).parents[2]
PROGRAMS: Final = (
    *("kubectl", "helm", "make", "docker", "curl", "pytest", "python", "python3", "pip", "uv", "sed"),
    *("corefit", "corefit-devcluster", "corefit-operator", "corefit-runtime"),
)
_FENCE: Final = re.compile(r"^```(\w*)$\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_INLINE: Final = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
_NAMED_FILE: Final = re.compile(r"# file: (\S+)\n")
_SETTING: Final = re.compile(r"^([A-Z_]+=\S+\s+)+")


class Command(NamedTuple):
    """One command as a page shows it.

    Attributes:
        page: path from the root of the repository.
        text: as one would type it, comments at its end included.
        block: whether it stands in a code block, to be typed in that order.
    """

    page: str
    text: str
    block: bool


@cache
def pages() -> tuple[str, ...]:
    """README and CONTRIBUTING, the docs and the examples' READMEs. Decisions tell of a day that is over."""
    found = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *ROOT.glob("docs/*.md"), *ROOT.glob("docs/runbooks/*.md")]
    found += [*ROOT.glob("examples/*.md"), *ROOT.glob("examples/*/README.md"), ROOT / "bench/README.md"]
    return tuple(sorted(str(path.relative_to(ROOT)) for path in found if path.exists()))


@cache
def commands() -> tuple[Command, ...]:
    """All of them, page by page."""
    return tuple(command for page in pages() for command in (*_of_blocks(page), *_of_text(page)))


def block_commands(page: str) -> list[str]:
    """The commands of a page's code blocks, in their order."""
    return [command.text for command in commands() if command.page == page and command.block]


def named_files(page: str) -> dict[str, str]:
    """The Python files that a page gives in full, by the name in their first line."""
    bodies = [body for language, body in _FENCE.findall((ROOT / page).read_text()) if language == "python"]
    return {name[1]: body for body in bodies if (name := _NAMED_FILE.match(body))}


def installable_programs() -> set[str]:
    """The programs of the blocks' commands that come from the distribution, and that not every machine has."""
    words = {word for page in pages() for text in block_commands(page) for word in re.findall(r"[\w.-]+", text)}
    return words & set(PROGRAMS) & set(PACKAGES)


def _of_blocks(page: str) -> Iterator[Command]:
    for language, body in _FENCE.findall((ROOT / page).read_text()):
        if language in ("sh", "bash", "shell"):
            yield from (Command(page, text, block=True) for text in split(body))
        elif language == "console":
            typed = (line[2:] for line in body.splitlines() if line.startswith(("$ ", "# ")))
            yield from (Command(page, line, block=True) for line in typed)
        elif language == "" and body.split(maxsplit=1)[:1] and body.split()[0] in PROGRAMS:
            yield from (Command(page, text, block=True) for text in split(body))


def _of_text(page: str) -> Iterator[Command]:
    for text in _INLINE.findall(_FENCE.sub("", (ROOT / page).read_text())):
        words = _SETTING.sub("", text).split()
        if len(words) > 1 and words[0] in PROGRAMS:
            yield Command(page, text, block=False)


def split(body: str) -> Iterator[str]:
    """The commands of a script, one by one, each with its further lines and here-documents."""
    text = ""
    for line in body.splitlines():
        text = f"{text}\n{line}" if text else line
        if not text.strip() or text.lstrip().startswith("#"):
            text = ""
        elif not text.endswith("\\") and _whole(text):
            yield text
            text = ""
    assert not text, f"a command that does not end: {text}"


def _whole(text: str) -> bool:
    """Whether bash takes it for a whole command; a here-document without an end is only warned of."""
    done = subprocess.run(["bash", "-n"], input=text, capture_output=True, text=True, check=False)
    return done.returncode == 0 and not done.stderr
