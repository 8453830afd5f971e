"""`python -m corefit.demo.transcript TRANSCRIPT PICTURE`: puts a run of the demo into docs. `make demo-docs` runs both.

The transcript in docs/demo.md is thereby what a run of the day's code prints; nobody edits it.
"""

import re
import shutil
import sys
from pathlib import Path
from typing import Final

from corefit.demo.settings import checkout

PAGE: Final = Path("docs/demo.md")
PICTURE: Final = Path("docs/pictures/demo.png")
_BLOCK: Final = re.compile(r"(?<=```console\n\$ make demo\n).*?(?=```\n)", re.DOTALL)
_LEFT_OUT: Final = re.compile(r"(Loading |docker\.io/|unpacking |make(\[\d+\])?: )")
"""Lines about loading images, and of make itself."""


def transcript_of(page: str) -> str:
    """The transcript that a page has; empty when there is none."""
    found = _BLOCK.search(page)
    return found[0] if found else ""


def with_transcript(page: str, transcript: str) -> str:
    """The page with another transcript, without the lines that say nothing of Corefit."""
    lines = [line.rstrip() for line in transcript.splitlines() if not _LEFT_OUT.match(line)]
    return _BLOCK.sub(lambda _: "\n".join(lines).strip("\n") + "\n", page, count=1)


def main(transcript: Path, drawn: Path) -> None:
    """Change the page and the picture in this checkout."""
    page = checkout() / PAGE
    page.write_text(with_transcript(page.read_text(), transcript.read_text()))
    shutil.copy(drawn, checkout() / PICTURE)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:3]))
