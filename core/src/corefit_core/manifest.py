"""What manifests of Kubernetes objects share: their type here, and a hash of their content. May not do I/O."""

import hashlib
import json
from typing import Any

Manifest = dict[str, Any]


def fingerprint(manifest: Manifest) -> str:
    """A hash of the manifest, the same for the same content in any order of keys."""
    canonical = json.dumps(manifest, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]
