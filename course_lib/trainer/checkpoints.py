"""How a training stops, and the folder from which it resumes, whatever happened.

A new file is written under another name, forced to the disk and then renamed, so at
every moment a whole one is there. (Lightning's and Accelerate's are not forced to the
disk before the old one goes: after a power cut there can be none.)
"""

import os
import signal
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import torch

from course_lib.weights.checkpoints import FORMAT, KEYS, CheckpointError, load

RESUME_KEYS = ("best", "images", "optimizer", "scaler", "scheduler", "step", "sums")


def write(path: Path, fill: Any) -> None:
    """Replace a file at once by what ``fill`` writes into a file opened for bytes.

    An ``OSError`` names the file, which is then as it was.
    """
    scratch = path.with_name(path.name + ".tmp")
    try:
        with scratch.open("wb") as file:
            fill(file)
            file.flush()
            os.fsync(file.fileno())
        scratch.replace(path)
        _sync_folder(path.parent)
    except BaseException as error:
        scratch.unlink(missing_ok=True)
        if type(error) is RuntimeError or isinstance(error, OSError):
            # torch reports a failed write so, and a full disk names no file.
            raise OSError(f"{path} could not be written: {error}") from error
        raise


def _sync_folder(folder: Path) -> None:
    """Force a rename to the disk, where the system can (Windows cannot)."""
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def save(path: Path, state: dict[str, Any]) -> None:
    """Write one checkpoint, atomically; see :func:`write`."""
    write(path, lambda file: torch.save({"format": FORMAT, **state}, file))


class Folder:
    """The checkpoints of one training: ``last.pt``, ``previous.pt``, ``best.pt``."""

    locked: ClassVar[set[Path]] = set()  # by this process

    def __init__(self, path: str | os.PathLike) -> None:
        self.path = Path(path)
        self.last, self.previous = self.path / "last.pt", self.path / "previous.pt"

    def exists(self) -> bool:
        """Whether a training has left something to resume from."""
        return self.last.exists() or self.previous.exists()

    def save(self, state: Any) -> None:
        """Write ``last.pt`` of a ``State``; what had that name becomes ``previous.pt``.

        At the end of an epoch also ``history.csv``, and after the best one ``best.pt``.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        if state.step == 0:
            text = state.history.csv().encode()
            write(self.path / "history.csv", lambda file: file.write(text))
            if state.last_was_best:
                save(self.path / "best.pt", state.to_predict())
        fresh = self.path / "next.pt"
        save(fresh, state.to_resume())
        # A kill between the two leaves previous.pt, which is as good as last.pt was.
        if self.last.exists():
            self.last.replace(self.previous)
        fresh.replace(self.last)
        _sync_folder(self.path)

    def load(self) -> dict[str, Any] | None:
        """The newest good checkpoint; None if there is none at all.

        A damaged one is put aside as ``damaged.pt`` with a warning; that there is no
        other is a ``CheckpointError``.
        """
        problems = []
        for path in filter(Path.exists, (self.last, self.previous)):
            try:
                state = load(path, KEYS + RESUME_KEYS)
            except CheckpointError as error:
                problems.append(str(error))
                continue
            if problems:
                self.last.replace(self.path / "damaged.pt")
                warnings.warn(
                    f"{problems[0]}. It is kept as damaged.pt; the training resumes "
                    f"from {path.name}",
                    stacklevel=2,
                )
            return state
        if problems:
            raise CheckpointError(
                f"there is no checkpoint to resume from: {'; '.join(problems)}. Start "
                "anew in another folder"
            )
        return None

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Keep other processes out; the system lets go when this one dies."""
        key = self.path.resolve()
        if key in Folder.locked:  # by the command that calls the trainer
            yield
            return
        self.path.mkdir(parents=True, exist_ok=True)
        with (self.path / "lock").open("ab") as file:
            try:
                _lock(file.fileno())
            except (BlockingIOError, PermissionError):
                raise CheckpointError(
                    f"another process is training into {self.path}; wait for it, or "
                    "choose another folder"
                ) from None
            Folder.locked.add(key)
            try:
                yield
            finally:
                Folder.locked.remove(key)


def _lock(handle: int) -> None:
    """Lock an open file for this process alone: workers that it forks hold no lock."""
    if os.name == "nt":
        import msvcrt

        msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
    else:
        import fcntl

        fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)


class TrainingInterrupted(KeyboardInterrupt):
    """The training was stopped by a signal; the message says how to resume."""


class StopSignals:
    """Within it a signal only asks the training to stop; a second one stops at once.

    Ctrl-C sends SIGINT, a cluster that takes a machine away SIGTERM, and a terminal
    that is closed SIGHUP. Python delivers signals to the main thread only.
    """

    def __init__(self) -> None:
        self.asked, self._before = False, {}

    def __enter__(self) -> "StopSignals":
        if threading.current_thread() is threading.main_thread():
            for name in ("SIGINT", "SIGTERM", "SIGHUP"):
                number = getattr(signal, name, None)  # Windows has no SIGHUP
                ignored = number and signal.getsignal(number) is signal.SIG_IGN
                if number and not (name == "SIGHUP" and ignored):  # as under nohup
                    self._before[number] = signal.signal(number, self._ask)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            # None: the handler was not Python's, so Python cannot put it back.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)

    def _ask(self, *_: object) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True
