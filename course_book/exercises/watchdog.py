"""Stop code that does not end, from inside the process that runs it.

What this cannot stop: one single call that stays in C, such as a huge integer power,
``sum(range(10**12))`` or one giant matrix product. Code made of lines of Python it
does stop, in the main thread even where that code catches every exception. Marking
a class adds limits from outside, see ``tools/mark.py``.
"""

from __future__ import annotations

import ctypes
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

AGAIN = 0.2  # seconds until the next attempt, should the code catch the first


class TimeUp(BaseException):
    """Raised inside code that ran too long; no ``except Exception`` catches it."""


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raise :class:`TimeUp` in the code below ``with`` after so many seconds.

    In the main thread of Linux and macOS a timer's signal also ends waiting, such as
    ``time.sleep``. Elsewhere the exception is set from a second thread and arrives
    at the next line of Python.

    Args:
        seconds: how long the code may run, above 0.
    """
    main = threading.current_thread() is threading.main_thread()
    tracer = sys.gettrace()
    try:
        if main and hasattr(signal, "setitimer"):
            with _by_signal(seconds):
                yield
        else:
            with _by_thread(seconds):
                yield
    finally:
        if sys.gettrace() is _trace_no_new_calls:
            sys.settrace(tracer)


def _trace_no_new_calls(frame: FrameType, event: str, arg: object) -> None:
    """The global trace function; without one, no frame's own is called."""


def _raise_at_next_line(frame: FrameType, event: str, arg: object) -> object:
    if event == "line":
        raise TimeUp
    return _raise_at_next_line


@contextmanager
def _by_signal(seconds: float) -> Iterator[None]:
    fired = 0

    def stop(number: int, frame: FrameType | None) -> None:
        nonlocal fired
        fired += 1
        if fired > 1:
            # The code caught the first one, in `except: pass` say. From here on
            # its next line raises as well, and that is one behind `except`.
            while frame is not None and not _is_ours(frame):
                frame.f_trace = _raise_at_next_line
                frame = frame.f_back
            sys.settrace(_trace_no_new_calls)
        raise TimeUp

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds, AGAIN)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@contextmanager
def _by_thread(seconds: float) -> Iterator[None]:
    target = ctypes.c_ulong(threading.get_ident())
    over = threading.Event()
    lock = threading.Lock()

    def watch() -> None:
        wait = seconds
        while not over.wait(wait):
            with lock:
                if not over.is_set():
                    ctypes.pythonapi.PyThreadState_SetAsyncExc(
                        target, ctypes.py_object(TimeUp)
                    )
            wait = AGAIN

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        with lock:
            over.set()
            # Take back one that is set and has not arrived.
            ctypes.pythonapi.PyThreadState_SetAsyncExc(target, None)
        thread.join()


def _is_ours(frame: FrameType) -> bool:
    return frame.f_globals.get("__name__", "").startswith("course_book.exercises")
