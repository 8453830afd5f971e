"""Writes docs/layers.md and its pictures from the import contracts; `--check` names the files that are out of date.

    python docs/layers.py [--check]

The contracts are those of import-linter in pyproject.toml; what a package or a module is for is the first sentence of
its docstring. So the page says what `make lint` enforces, and nothing else.
"""

import ast
import re
import sys
import tomllib
from pathlib import Path
from typing import Final, NamedTuple
from xml.sax.saxutils import escape

ROOT: Final = Path(__file__).parents[1]
SOURCES: Final = {
    "corefit_core": "core",
    "corefit_operator": "operator",
    "corefit_runtime": "runtime",
    "corefit": "cli",
    "corefit_devcluster": "devcluster",
}
DRAWN: Final = ("corefit_core", "corefit_core.recommender", "corefit_operator", "corefit_runtime")
WIDTH: Final = 980
"""Pixels of a picture; so are those below, of a row, of a box in a row, of a character."""
ROW: Final = 46
BOX: Final = 32
CHARACTER: Final = 7.4


class Layers(NamedTuple):
    """One contract: the rows of a package from the top; each row imports only those below it."""

    package: str
    rows: tuple[tuple[str, ...], ...]


def contracts() -> list[Layers]:
    """The layers contracts of pyproject.toml, in their order."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    return [
        Layers(package, tuple(tuple(re.split(r"\s*[|:]\s*", row)) for row in contract["layers"]))
        for contract in settings
        if contract["type"] == "layers"
        for package in contract["containers"]
    ]


def purpose(module: str) -> str:
    """The first sentence of a module's docstring."""
    path = ROOT / SOURCES[module.split(".", maxsplit=1)[0]] / "src" / Path(*module.split("."))
    file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    text = " ".join((ast.get_docstring(ast.parse(file.read_text())) or "").split())
    return re.split(r"(?<=[.!?]) (?=[A-Z`])", text, maxsplit=1)[0].replace("|", "\\|")


def page(found: list[Layers]) -> str:
    """The page in Markdown."""
    parts = [
        "<!-- Generated from pyproject.toml by `python docs/layers.py`: do not edit. -->",
        "# Layers",
        (
            "A row imports only the rows below it, and the members of one row do not import each other. `make lint` "
            "refuses the rest, by the contracts in `pyproject.toml` that this page is made from."
        ),
    ]
    for layers in found:
        parts.append(f"## {layers.package}")
        if layers.package in DRAWN:
            parts.append(f"![The layers of {layers.package}](pictures/{picture_name(layers)})")
        lines = ["| layer | module | what it is for |", "|---|---|---|"]
        for number, row in enumerate(layers.rows, 1):
            lines += [f"| {number} | `{name}` | {purpose(f'{layers.package}.{name}')} |" for name in row]
        parts.append("\n".join(lines))
    return "\n\n".join(parts) + "\n"


def picture_name(layers: Layers) -> str:
    """The file of a package's picture."""
    return f"layers-{layers.package.removeprefix('corefit_').replace('.', '-')}.svg"


def picture(layers: Layers) -> str:
    """The rows as boxes, the top row first; a row that is too long goes on in the next line."""
    y, drawn = 16, []
    for number, row in enumerate(layers.rows, 1):
        lines = _lines(row)
        height = ROW * len(lines)
        drawn.append(f'<rect x="16" y="{y}" width="{WIDTH - 32}" height="{height - 4}" rx="6" fill="#f1f5f9"/>')
        drawn.append(f'<text x="28" y="{y + 26}" fill="#64748b">{number}</text>')
        for line in lines:
            x = 56.0
            for name in line:
                width = _width(name)
                drawn.append(
                    f'<rect x="{x:.0f}" y="{y + 5}" width="{width:.0f}" height="{BOX}" rx="5" fill="#ffffff" '
                    f'stroke="#94a3b8"/><text x="{x + 10:.0f}" y="{y + 26}" fill="#0f172a">{escape(name)}</text>'
                )
                x += width + 10
            y += ROW
    title = f"<title>The layers of {layers.package}: a row imports only the rows below it</title>"
    style = 'font-family="Menlo, Consolas, monospace" font-size="12"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y + 12}" {style}>'
    return "\n".join([head, title, f'<rect width="{WIDTH}" height="{y + 12}" fill="#ffffff"/>', *drawn, "</svg>", ""])


def _width(name: str) -> float:
    return 20 + CHARACTER * len(name)


def _lines(row: tuple[str, ...]) -> list[list[str]]:
    lines: list[list[str]] = [[]]
    for name in row:
        if sum(_width(each) + 10 for each in (*lines[-1], name)) > WIDTH - 80 and lines[-1]:
            lines.append([])
        lines[-1].append(name)
    return lines


def files() -> dict[Path, str]:
    """Each generated file and its text."""
    found = contracts()
    pictures = {ROOT / "docs/pictures" / picture_name(each): picture(each) for each in found if each.package in DRAWN}
    return {ROOT / "docs/layers.md": page(found), **pictures}


def main() -> int:
    """Write the files, or name those that differ."""
    check, wrong = "--check" in sys.argv[1:], 0
    for path, text in files().items():
        if check and (not path.exists() or path.read_text() != text):
            print(f"{path.relative_to(ROOT)} is out of date: run python docs/layers.py")
            wrong = 1
        elif not check:
            path.write_text(text)
    return wrong


if __name__ == "__main__":
    sys.exit(main())
