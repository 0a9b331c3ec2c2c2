"""How far is it? A bar where someone watches, plain lines where a file listens."""

from __future__ import annotations

import sys
import time
from typing import Any

__all__ = ["Progress"]

LOOK_SECONDS = 0.5  # between two looks at the loss: each makes a GPU wait
LINE_SECONDS = 300.0  # between two lines in a log file, besides one per epoch


def someone_watches() -> bool:
    """Whether there is a terminal or a notebook that can redraw a line."""
    shell = sys.modules.get("IPython")
    if shell is not None and hasattr(shell.get_ipython(), "kernel"):
        return True
    return sys.stderr.isatty()


class Progress:
    """One bar per epoch, and one line that stays when the epoch ends.

    In a terminal or a notebook a bar of ``tqdm.auto`` shows the running loss. In a
    log file there is a line every five minutes and no bar. The line at the end of an
    epoch goes to standard output in either case.

    Args:
        shown: False is silent.
        epochs: of the whole training.
    """

    def __init__(self, shown: bool, epochs: int) -> None:
        self.shown, self.epochs = shown, epochs
        self.bars = shown and someone_watches()
        self.bar: Any = None

    def start(self, epoch: int, steps: int, done: int = 0) -> None:
        """An epoch begins, or goes on after ``done`` steps."""
        self.epoch, self.steps, self.done, self.first = epoch, steps, done, done
        self.began = self.looked = time.perf_counter()
        if self.bars:
            from tqdm.auto import tqdm

            self.bar = tqdm(
                total=steps,
                initial=done,
                desc=f"epoch {epoch}/{self.epochs}",
                unit="batch",
                leave=False,
                dynamic_ncols=True,
            )

    def step(self, loss: Any) -> None:
        """One batch is done; ``loss`` (a tensor) is read only now and then."""
        self.done += 1
        if self.bar is not None:
            self.bar.update()
        now = time.perf_counter()
        if now - self.looked < (LOOK_SECONDS if self.bars else LINE_SECONDS):
            return
        self.looked = now
        if self.bar is not None:
            self.bar.set_postfix(loss=f"{float(loss):.3f}", refresh=False)
        elif self.shown:
            left = (now - self.began) / (self.done - self.first)
            left *= self.steps - self.done
            print(
                f"epoch {self.epoch}/{self.epochs}, step {self.done}/{self.steps}: "
                f"loss {float(loss):.3f}, {left / 60:.0f} min to the epoch's end",
                flush=True,
            )

    def end(self, row: dict[str, float] | None = None) -> None:
        """The epoch is over, with these results, or was broken off."""
        if self.bar is not None:
            self.bar.close()
            self.bar = None
        if self.shown and row is not None:
            print(
                f"epoch {row['epoch']}/{self.epochs}: "
                f"train loss {row['train_loss']:.3f}, "
                f"validation loss {row['validation_loss']:.3f}, "
                f"accuracy {row['validation_accuracy']:.2%}, "
                f"macro F1 {row['validation_macro_f1']:.4f}, "
                f"{row['seconds']:.1f} s",
                flush=True,
            )

    def say(self, text: str) -> None:
        """A line that stays."""
        if self.shown:
            print(text, flush=True)
