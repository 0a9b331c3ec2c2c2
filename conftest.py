"""Settings that must hold before torch is imported, in tests and in kernels."""

import os

from course_book.home import use_writable_folders

# What a cell prints must not depend on the user's home or warning filters; the kernels
# of the notebooks get these settings from this process.
use_writable_folders()
os.environ.pop("PYTHONWARNINGS", None)

# Each xdist worker, and each kernel it starts, takes its share of the cores;
# else two workers would run two threads per core and wait for each other.
workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
if workers > 1:
    share = max(1, (os.cpu_count() or 1) // workers)
    os.environ.setdefault("OMP_NUM_THREADS", str(share))

# Every step of a training asks for the same large blocks again. By default glibc gives
# them back to the system each time and gets them zeroed anew; without that all tests
# take a fifth less time. Other C libraries ignore these names.
os.environ.setdefault("MALLOC_MMAP_THRESHOLD_", str(2**30))
os.environ.setdefault("MALLOC_TRIM_THRESHOLD_", str(2**32))
