"""The memory of the process: the container's limit, the heap, buffers for bodies."""
