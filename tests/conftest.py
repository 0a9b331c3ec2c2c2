"""The same drawn cases in every run, so that a red test is red for everybody.

``pytest --hypothesis-profile=default`` draws new ones.
"""

import ctypes
import sys

import pytest
from hypothesis import settings

settings.register_profile("same", derandomize=True, deadline=None)
settings.load_profile("same")


@pytest.fixture(autouse=True, scope="module")
def memory_goes_back():
    """What the tests of one file held is free for those of the next.

    The root's conftest.py lets a process keep freed memory; without this one, a
    worker would end with 6 GB.
    """
    yield
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # musl has none
        if trim:
            trim(0)
