"""The runtime as a container of a pod: of a pod of its own, or as a sidecar in somebody's. May not do I/O."""
