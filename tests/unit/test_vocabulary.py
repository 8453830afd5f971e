"""Names in the code are terms of docs/glossary.md: the words of an old dialect come into no place."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
DIALECT = re.compile(
    r"(?:^|_)(?:told|asked|beside|found|said|scene|need|aside|rooms|hush|moment|lasting|risen|soon|outlook|"
    r"stretch|able)(?:_|$)",
    re.IGNORECASE,
)


def _defined(tree: ast.AST) -> Iterator[str]:
    """Names of modules' classes, functions and fields; what is local to a function is its own matter."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name
        if isinstance(node, ast.ClassDef):
            fields = (part.target for part in node.body if isinstance(part, ast.AnnAssign))
            yield from (field.id for field in fields if isinstance(field, ast.Name))


def test_the_old_dialect_comes_into_no_place() -> None:
    bad = [
        f"{path.name}: {name}"
        for package in ("core", "operator", "runtime", "cli", "devcluster")
        for path in sorted((ROOT / package / "src").rglob("*.py"))
        for name in (path.stem, *_defined(ast.parse(path.read_text())))
        if DIALECT.search(re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name))
    ]
    assert bad == []
