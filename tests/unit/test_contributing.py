"""CONTRIBUTING's table leads to files that are there."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = {
    "core": "core/src/corefit_core",
    "operator": "operator/src/corefit_operator",
    "runtime": "runtime/src/corefit_runtime",
    "cli": "cli/src/corefit",
}
TEXT = (ROOT / "CONTRIBUTING.md").read_text()
PATHS = sorted(
    {
        path
        for path in re.findall(r"`((?:core|operator|runtime|cli|tests|docs|bench)/[^`*]*)`", TEXT)
        if "NNNN" not in path
    }
)


@pytest.mark.parametrize("path", PATHS)
def test_each_path_of_the_table_is_there(path: str) -> None:
    """It named modules that had become packages."""
    distribution, _, rest = path.partition("/…/")
    assert (ROOT / SOURCES[distribution] / rest if rest else ROOT / path).exists()
