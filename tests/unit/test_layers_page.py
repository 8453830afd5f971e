"""docs/layers.md and its pictures are those of the import contracts of today."""

import runpy
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]


def _made() -> dict[str, Any]:
    return runpy.run_path(str(ROOT / "docs/layers.py"))


def test_the_page_and_its_pictures_are_those_of_the_contracts() -> None:
    stale = [path.name for path, text in _made()["files"]().items() if path.read_text() != text]
    assert stale == [], "run python docs/layers.py"


def test_every_package_with_modules_has_a_contract() -> None:
    known = {layers.package for layers in _made()["contracts"]()}
    for source in ("core", "operator", "runtime", "cli", "devcluster"):
        packages = {path.parent for path in (ROOT / source / "src").rglob("*.py") if path.name != "__init__.py"}
        names = {".".join(path.relative_to(ROOT / source / "src").parts) for path in packages}
        assert names <= known, f"{source}: packages without a layers contract"
