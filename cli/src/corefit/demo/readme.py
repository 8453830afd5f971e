"""`python -m corefit.demo.readme TRANSCRIPT PICTURE`: puts a run of the demo into README. `make demo-readme` runs both.

README's transcript is thereby what a run of the day's code prints; nobody edits it.
"""

import re
import shutil
import sys
from pathlib import Path
from typing import Final

from corefit.demo.settings import checkout

PICTURE: Final = Path("docs/pictures/demo.png")
_BLOCK: Final = re.compile(r"(?<=```console\n\$ make demo\n).*?(?=```\n)", re.DOTALL)
_LEFT_OUT: Final = re.compile(r"(Loading |docker\.io/|unpacking |make(\[\d+\])?: )")
"""Lines about loading images, and of make itself."""


def transcript_of(readme: str) -> str:
    """The transcript that README has; empty when there is none."""
    found = _BLOCK.search(readme)
    return found[0] if found else ""


def with_transcript(readme: str, transcript: str) -> str:
    """README with another transcript, without the lines that say nothing of Corefit."""
    lines = [line.rstrip() for line in transcript.splitlines() if not _LEFT_OUT.match(line)]
    return _BLOCK.sub(lambda _: "\n".join(lines).strip("\n") + "\n", readme, count=1)


def main(transcript: Path, drawn: Path) -> None:
    """Change README and the picture in this checkout."""
    readme = checkout() / "README.md"
    readme.write_text(with_transcript(readme.read_text(), transcript.read_text()))
    shutil.copy(drawn, checkout() / PICTURE)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:3]))
