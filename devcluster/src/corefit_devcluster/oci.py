"""OCI image archives of one layer, written by hand: four JSON documents and a tar around another.

Deterministic: the same input gives the same bytes.
"""

import hashlib
import io
import json
import tarfile
from pathlib import Path
from typing import Any

_LAYER = "application/vnd.oci.image.layer.v1.tar"
_CONFIG = "application/vnd.oci.image.config.v1+json"
_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


def single_program(program: Path, reference: str, machine: str) -> bytes:
    """Return the archive of an image that holds one program and runs it as a user without rights."""
    layer = _tar({program.name: (program.read_bytes(), 0o755)})
    return _archive(layer, {"Entrypoint": [f"/{program.name}"], "User": "65535:65535"}, reference, machine)


def from_root(root: bytes, reference: str, machine: str, *, stop_signal: str = "") -> bytes:
    """Return the archive of an image whose only layer is the tar of a root file system."""
    run = {"Env": [_PATH], "Cmd": ["/bin/sh"], **({"StopSignal": stop_signal} if stop_signal else {})}
    return _archive(root, run, reference, machine)


def _archive(layer: bytes, run: dict[str, Any], reference: str, machine: str) -> bytes:
    config = {
        "architecture": _ARCHITECTURES.get(machine, machine),
        "os": "linux",
        "config": run,
        "rootfs": {"type": "layers", "diff_ids": [_digest(layer)]},
    }
    config_bytes = _json(config)
    manifest = {
        "schemaVersion": 2,
        "mediaType": _MANIFEST,
        "config": _descriptor(_CONFIG, config_bytes),
        "layers": [_descriptor(_LAYER, layer)],
    }
    manifest_bytes = _json(manifest)
    annotations = {"io.containerd.image.name": reference, "org.opencontainers.image.ref.name": reference}
    index = {
        "schemaVersion": 2,
        "manifests": [{**_descriptor(_MANIFEST, manifest_bytes), "annotations": annotations}],
    }
    files = {"oci-layout": _json({"imageLayoutVersion": "1.0.0"}), "index.json": _json(index)}
    files |= {f"blobs/sha256/{_hash(blob)}": blob for blob in (layer, config_bytes, manifest_bytes)}
    return _tar({name: (content, 0o644) for name, content in files.items()})


def _tar(files: dict[str, tuple[bytes, int]]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, (content, mode) in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), mode
            archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def _json(document: dict[str, Any]) -> bytes:
    return json.dumps(document, sort_keys=True).encode()


def _hash(blob: bytes) -> str:
    return hashlib.sha256(blob).hexdigest()


def _digest(blob: bytes) -> str:
    return f"sha256:{_hash(blob)}"


def _descriptor(media_type: str, blob: bytes) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": _digest(blob), "size": len(blob)}
