"""The API server's own account of what was written."""

import json
import threading
from collections import defaultdict
from pathlib import Path
from typing import Any


class Audit:
    """The API server's own account of who wrote what, by namespace."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read = 0
        self._rest = b""
        self._lock = threading.Lock()
        self._entries: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)

    def of(self, namespace: str) -> list[dict[str, Any]]:
        """The writes in a namespace that were carried out."""
        with self._lock:
            with self._path.open("rb") as log:
                log.seek(self._read)
                data = log.read()
            self._read += len(data)
            *lines, self._rest = (self._rest + data).split(b"\n")
            for line in lines:
                entry = json.loads(line)
                if entry["responseStatus"]["code"] < 400:
                    self._entries[entry["objectRef"].get("namespace", "")].append(entry)
            return list(self._entries[namespace])
