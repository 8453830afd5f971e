"""Links between the repository's pages lead to a file that is there, and to a heading that the file has."""

import re
from pathlib import Path

import pytest
from documented.pages import ROOT, pages

LINK = re.compile(r"\]\(([^)\s:]*?)(?:#([^)\s]*))?\)")
FENCED = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
PAGES = sorted({*(ROOT / page for page in pages()), *ROOT.glob("docs/**/*.md"), *ROOT.glob("*.md")})


def _anchors(page: Path) -> set[str]:
    """The fragments that GitHub's renderer gives the headings of a page."""
    headings = HEADING.findall(FENCED.sub("", page.read_text()))
    plain = (re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower() for heading in headings)
    return {re.sub(r"[^\w\- ]", "", heading).replace(" ", "-") for heading in plain}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    """A runbook led to a heading of operations.md that had got another name."""
    for path, anchor in LINK.findall(FENCED.sub("", page.read_text())):
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{path}: no such file"
        if anchor and target.suffix == ".md":
            assert anchor in _anchors(target), f"{path}#{anchor}: no such heading"
