"""The bill of materials lists what is installed, and equal images have equal bills."""

import json
import re
import tomllib
from pathlib import Path

from corefit_devcluster import sbom

ROOT = Path(__file__).parents[2]
STATUS = """Package: libc6
Status: install ok installed
Architecture: amd64
Version: 2:2.36-9+deb12u13
Description: GNU C Library
 Package: not-a-field

Package: gone
Status: deinstall ok config-files
Architecture: amd64
Version: 1
"""


def _site(folder: Path) -> Path:
    for name, version in (("corefit_runtime", "0.1.0"), ("numpy", "2.3.0")):
        info = folder / f"{name}-{version}.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(
            f"Metadata-Version: 2.4\nName: {name}\nVersion: {version}\nLicense: BSD-3-Clause\n"
        )
    return folder


def test_it_lists_python_and_debian_packages_as_they_are(tmp_path: Path) -> None:
    (tmp_path / "status").write_text(STATUS)
    (tmp_path / "release").write_text('ID=debian\nVERSION_ID="12"\n')
    site = _site(tmp_path / "site")
    bill = sbom.document("corefit-runtime", site, tmp_path / "status", tmp_path / "release")
    assert [component["purl"] for component in bill["components"]] == [
        "pkg:deb/debian/libc6@2%3A2.36-9%2Bdeb12u13?arch=amd64&distro=debian-12",
        "pkg:pypi/corefit-runtime@0.1.0",
        "pkg:pypi/numpy@2.3.0",
    ]
    assert bill["metadata"]["component"]["version"] == "0.1.0"
    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.6")
    assert re.fullmatch(
        r"urn:uuid:[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-8[0-9a-f]{3}-[0-9a-f]{12}", bill["serialNumber"]
    )


def test_equal_images_have_equal_bills_and_a_base_without_dpkg_has_none_of_it(tmp_path: Path) -> None:
    site = _site(tmp_path / "site")
    bills = []
    for _ in range(2):
        sbom.main(["corefit-runtime", str(site)])
        bills.append((site / sbom.NAME).read_bytes())
    assert bills[0] == bills[1]
    bare = sbom.document("corefit-runtime", site, tmp_path / "none")
    assert {component["purl"].split("/")[0] for component in bare["components"]} == {"pkg:pypi"}
    assert json.loads(bills[0])["components"]


def test_both_dockerfiles_write_it_into_the_image() -> None:
    for image in ("operator", "runtime"):
        text = (ROOT / image / "Dockerfile").read_text()
        assert f'RUN ["python3", "/tmp/sbom.py", "corefit-{image}", "/opt/corefit"]' in text


def test_both_images_have_the_same_base_by_its_digest() -> None:
    bases = {
        line
        for image in ("operator", "runtime")
        for line in (ROOT / image / "Dockerfile").read_text().splitlines()
        if line.startswith("ARG BASE=")
    }
    assert len(bases) == 1
    assert re.fullmatch(r"ARG BASE=docker\.io/library/python:[\w.-]+@sha256:[0-9a-f]{64}", bases.pop())


def test_make_installs_the_uv_of_the_lock() -> None:
    lock = tomllib.loads((ROOT / "uv.lock").read_text())
    version = next(package["version"] for package in lock["package"] if package["name"] == "uv")
    assert f"'uv=={version}'" in (ROOT / "Makefile").read_text()
