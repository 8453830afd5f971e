"""The generated CRD: structural, complete, and equal to the committed files."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from corefit_core.api import crd
from corefit_operator import crd as files

ROOT = Path(__file__).parents[2]


def _nodes(node: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    yield path, node
    for name, child in node.get("properties", {}).items():
        yield from _nodes(child, f"{path}.{name}")
    if "items" in node:
        yield from _nodes(node["items"], f"{path}[]")


def test_no_node_holds_what_an_api_server_refuses() -> None:
    for path, node in _nodes(crd.schema()):
        assert not {"$ref", "title"} & set(node), path
        assert node.get("type") != "null", path
        assert "anyOf" not in node or node.get("x-kubernetes-int-or-string"), path
        untyped = ("x-kubernetes-int-or-string", "x-kubernetes-preserve-unknown-fields")
        assert node.get("type") or any(map(node.get, untyped)), path


def test_every_field_of_the_spec_is_described_and_every_rule_has_a_message() -> None:
    spec = crd.schema()["properties"]["spec"]
    for path, node in _nodes(spec, "spec"):
        assert node.get("description") or "[]" in path, path
        assert all(rule["message"] for rule in node.get("x-kubernetes-validations", [])), path


def test_defaults_of_parts_are_written_out_and_status_has_none() -> None:
    properties = crd.schema()["properties"]
    assert properties["spec"]["properties"]["resources"]["default"] == {
        "cpu": "1",
        "growth": "Resize",
        "memory": "512Mi",
    }
    assert all("default" not in node for _, node in _nodes(properties["status"]))


def test_scale_subresource_points_at_fields_that_exist() -> None:
    version = crd.manifest()["spec"]["versions"][0]
    for path in version["subresources"]["scale"].values():
        node = crd.schema()
        for part in path.strip(".").split("."):
            node = node["properties"][part]
        assert node["type"] in ("integer", "string")


def test_the_committed_files_are_those_generated() -> None:
    assert files.main(["--check", "--root", str(ROOT)]) == 0


def test_a_stale_file_is_found_and_written_anew(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert files.main(["--check", "--root", str(tmp_path)]) == 1
    assert "is stale" in capsys.readouterr().err
    assert files.main(["--root", str(tmp_path)]) == 0
    assert files.main(["--check", "--root", str(tmp_path)]) == 0
    assert yaml.safe_load((tmp_path / files.PLAIN).read_text()) == crd.manifest()


def test_the_reference_names_every_field_with_its_default_and_limits() -> None:
    page = files.files(ROOT)[ROOT / files.REFERENCE]
    for part in ("spec", "status"):
        for path, node in _nodes(crd.schema()["properties"][part], part):
            for name in () if node.get("x-kubernetes-preserve-unknown-fields") else node.get("properties", ()):
                assert f"\n| `{name}`" in page or f"\n| [`{name}`]" in page, f"{path}.{name}"
            for value in node.get("enum", []):
                assert f"`{value}`" in page, path
            for rule in node.get("x-kubernetes-validations", []):
                assert rule["message"].replace("|", "\\|") in page, path
    row = next(line for line in page.splitlines() if line.startswith("| `latencyMilliseconds`"))
    assert "| `100` | 1 to 60000 |" in row


def test_each_link_of_the_reference_leads_to_a_section_of_it() -> None:
    page = files.files(ROOT)[ROOT / files.REFERENCE]
    headings = {re.sub(r"[^a-z0-9_-]", "", line[3:].lower()) for line in page.splitlines() if line.startswith("## ")}
    assert set(re.findall(r"\(#([^)]*)\)", page)) <= headings
