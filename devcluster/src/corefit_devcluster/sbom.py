"""The bill of materials of an image, written while it is built: CycloneDX 1.6 as JSON.

Runs inside the image's first stage with its Python and nothing else: what is listed is what is there. Python packages
come from the metadata that the lock's wheels have left, Debian packages from dpkg's own list. Without a clock: equal
images have equal bills.
"""

import hashlib
import json
import sys
from collections.abc import Iterator
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import Any
from urllib.parse import quote

DPKG = Path("/var/lib/dpkg/status")
RELEASE = Path("/etc/os-release")
NAME = "sbom.cdx.json"


def document(image: str, site: Path, dpkg: Path = DPKG, release: Path = RELEASE) -> dict[str, Any]:
    """The bill of what is in `site` and in dpkg's list."""
    found = sorted([*_python(site), *_debian(dpkg, release)], key=lambda component: str(component["bom-ref"]))
    own = next((c["version"] for c in found if c["purl"].startswith(f"pkg:pypi/{image}@")), "")
    serial = hashlib.sha256(json.dumps(found, sort_keys=True).encode()).hexdigest()
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        # A UUID of version 8 (RFC 9562): its bits are ours to choose.
        "serialNumber": f"urn:uuid:{serial[:8]}-{serial[8:12]}-8{serial[13:16]}-8{serial[17:20]}-{serial[20:32]}",
        "version": 1,
        "metadata": {"component": {"type": "container", "name": image, "version": own, "bom-ref": image}},
        "components": found,
    }


def _python(site: Path) -> Iterator[dict[str, Any]]:
    for found in distributions(path=[str(site)]):
        name = found.metadata["Name"].lower().replace("_", "-")
        license_ = _license(found)
        purl = f"pkg:pypi/{name}@{found.version}"
        yield {
            "type": "library",
            "name": name,
            "version": found.version,
            "purl": purl,
            "bom-ref": purl,
            **({"licenses": [{"license": {"name": license_}}]} if license_ else {}),
        }


def _license(found: Distribution) -> str:
    said = next((found.metadata[key] for key in ("License-Expression", "License") if key in found.metadata), "")
    return said.strip().partition("\n")[0][:200]


def _debian(dpkg: Path, release: Path) -> Iterator[dict[str, Any]]:
    """Of a base without dpkg nothing."""
    if not dpkg.exists():
        return
    distribution = _fields(release.read_text().replace("=", ": ")) if release.exists() else {}
    suite = f"{distribution.get('ID', 'debian')}-{distribution.get('VERSION_ID', '')}".replace('"', "")
    for block in dpkg.read_text(errors="replace").split("\n\n"):
        fields = _fields(block)
        if fields.get("Status", "").endswith(" installed"):
            name, version, machine = fields["Package"], fields["Version"], fields["Architecture"]
            purl = f"pkg:deb/debian/{name}@{quote(version, safe='')}?arch={machine}&distro={suite}"
            yield {"type": "library", "name": name, "version": version, "purl": purl, "bom-ref": purl}


def _fields(block: str) -> dict[str, str]:
    lines = (line.partition(": ") for line in block.splitlines() if line[:1].strip())
    return {name: value for name, _, value in lines}


def main(arguments: list[str]) -> None:
    """Writes the bill of IMAGE to the folder that has its Python packages."""
    image, folder = arguments
    bill = document(image, Path(folder))
    (Path(folder) / NAME).write_text(json.dumps(bill, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
