"""Keep the memory that a step frees for the next step, on a CPU under Linux.

Each step of a training asks for the same large blocks again. glibc, the C library of
most Linux systems, returns a large block to the system as soon as it is freed; the
next one comes page by page, each cleared and entered into the process's tables when
it is first touched. ``chapters/code/speed`` measures what that costs.
"""

from __future__ import annotations

import ctypes
import sys

try:
    import resource
except ImportError:  # Windows
    resource = None

__all__ = ["keep_freed_memory", "page_faults"]

# Of mallopt(3): the numbers of its parameters, and its own values for them.
TRIM_THRESHOLD, MMAP_THRESHOLD, MMAP_MAX = -1, -3, -4
USUAL = {MMAP_MAX: 65_536, MMAP_THRESHOLD: 2**25, TRIM_THRESHOLD: 2**26}
KEPT = {MMAP_MAX: 0, TRIM_THRESHOLD: 2**31 - 1}


def keep_freed_memory(keep: bool = True) -> bool:
    """Let this process keep the memory that it frees, or return it as is usual.

    Args:
        keep: True: only what is free at the heap's end beyond 2 GiB goes back. False:
            blocks of 32 MiB and more, and what is free at the end beyond 64 MiB, go
            back; to there glibc's own limits grow.

    Returns:
        Whether the allocator takes such wishes; False on other systems, where
        nothing happens.
    """
    if sys.platform != "linux":
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # musl has none
    wishes = KEPT if keep else USUAL
    return mallopt is not None and all(mallopt(*wish) for wish in wishes.items())


def page_faults() -> int:
    """How often this process has waited for a page of memory; 0 on Windows."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt if resource else 0
