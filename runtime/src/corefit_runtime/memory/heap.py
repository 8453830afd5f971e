"""Settings of glibc's malloc for a server: buffers stay between requests, what loading leaves goes back.

Knows nothing of what the memory is for. Where the C library has no such functions (musl), nothing happens.
"""

import contextlib
import ctypes
from typing import Final

_M_TRIM_THRESHOLD: Final = -1
_M_MMAP_THRESHOLD: Final = -3
_M_ARENA_MAX: Final = -8
KEPT_BYTES: Final = 4 << 20
"""Blocks up to this size come from the heap, and so much of it stays when they are freed: by default a body of
600 KB is unmapped after its request, and its 150 pages are zeroed by the kernel for the next one (100 us of 5 ms).
What is larger is mapped, and goes back whole: of blocks of 32 MiB, the most that glibc takes, the heap kept 190 MB."""
ARENAS: Final = 2
"""One for the event loop and one for all workers: onnxruntime allocates a few blocks a run, nobody waits, and what
one worker has freed another one takes. glibc's default is 8 arenas a core, each with free memory of its own."""


def configure() -> None:
    """Before any thread is started: an arena that a thread has is kept."""
    for parameter, value in (
        (_M_MMAP_THRESHOLD, KEPT_BYTES),
        (_M_TRIM_THRESHOLD, KEPT_BYTES),
        (_M_ARENA_MAX, ARENAS),
    ):
        with contextlib.suppress(AttributeError):
            ctypes.CDLL(None).mallopt(parameter, value)


def give_back() -> None:
    """Gives all free pages back to the kernel: after a session was dropped, whose weights leave holes (100 MB)."""
    with contextlib.suppress(AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
