"""How good is a classifier? One report for the whole course.

Where a number divides by zero it is 0, as in scikit-learn with ``zero_division=0``: a
class that was never guessed has precision 0, one that never occurs recall 0.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Report:
    """What :func:`report` measured. K is the number of classes."""

    classes: tuple[str, ...]  # K names
    n: int  # number of pictures
    loss: float  # cross-entropy, mean over the pictures
    accuracy: float  # share of right answers
    precision: np.ndarray  # float64 [K], share of the guesses "class k" that is right
    recall: np.ndarray  # float64 [K], share of the pictures of class k that was found
    f1: np.ndarray  # float64 [K], the harmonic mean of the two
    support: np.ndarray  # int64 [K], pictures of each class
    macro_f1: float  # mean of f1; a rare class counts as much as a common one
    confusion: np.ndarray  # int64 [K, K], row = true class, column = guess
    calibration_error: float  # over 15 bins, see calibration_error

    def as_dict(self) -> dict[str, Any]:
        """All fields as plain numbers and lists, ready for ``json.dumps``."""
        return {
            name: value.tolist() if isinstance(value, np.ndarray) else value
            for name, value in asdict(self).items()
        } | {"classes": list(self.classes)}

    def table(self) -> str:
        """A text table: one line per class, then the totals."""
        rows = [*zip(self.classes, self.precision, self.recall, self.f1, self.support)]
        means = self.precision.mean(), self.recall.mean(), self.macro_f1
        rows.append(("macro mean", *means, self.n))
        width = max(len(name) for name, *_ in rows)
        lines = "".join(
            f"{name:{width}}  {p:9.3f}  {r:6.3f}  {f:5.3f}  {count:8,}\n"
            for name, p, r, f, count in rows
        )
        return (
            f"{'':{width}}  precision  recall     F1  pictures\n{lines}"
            f"accuracy {self.accuracy:.3f}, loss {self.loss:.3f}, "
            f"calibration error {self.calibration_error:.3f}"
        )


def calibration_error(
    probabilities: np.ndarray, labels: np.ndarray, bins: int = 15
) -> float:
    """Expected calibration error: how far confidence and accuracy lie apart.

    Pictures are dealt into equal bins of confidence, the probability of the guess;
    bin m is ((m - 1) / M, m / M]. The result, 0 to 1, is the mean over all pictures of
    |accuracy - mean confidence| of their bin (Guo et al. 2017, equation 3).

    Args:
        probabilities: float [N, K], rows that add up to 1.
        labels: int [N].
        bins: M, the number of bins; 15 as in their section 4.
    """
    probabilities = np.asarray(probabilities, np.float64)
    confidence = probabilities.max(1)
    right = probabilities.argmax(1) == np.asarray(labels)
    place = np.searchsorted(np.arange(1, bins) / bins, confidence)
    # Per bin, count · |accuracy - confidence| is |right answers - sum of confidence|.
    gaps = np.bincount(place, right - confidence, minlength=bins)
    return float(np.abs(gaps).sum() / len(confidence))


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """``part / whole``, and 0 where ``whole`` is 0."""
    return np.divide(part, whole, out=np.zeros(len(part)), where=whole != 0)


def report(
    logits: Tensor | np.ndarray,
    labels: Tensor | np.ndarray | Sequence[int],
    classes: Sequence[str],
) -> Report:
    """Judge a classifier by its logits.

    Args:
        logits: float [N, K], on any device. Where two are equally large, the first
            class counts as the guess.
        labels: int [N], 0 ... K - 1.
        classes: K names, in the order of the logits.

    Raises:
        ValueError: if shapes, types or ranges do not agree.
        FloatingPointError: if a logit is not finite.
    """
    z = torch.as_tensor(logits).detach().to("cpu", torch.float64)
    y = torch.as_tensor(labels).detach().cpu()
    if z.ndim != 2 or z.numel() == 0:
        shape = list(z.shape)
        raise ValueError(f"logits must have shape [N, K], at least 1 each, got {shape}")
    whole = not y.is_floating_point() and y.dtype != torch.bool
    if y.shape != z.shape[:1] or not whole or y.min() < 0 or y.max() >= z.shape[1]:
        raise ValueError(
            f"labels must be {len(z)} integers from 0 to {z.shape[1] - 1}, one per row "
            f"of logits, got shape {list(y.shape)} of {y.dtype}: {y.flatten()[:8]} ..."
        )
    if not torch.isfinite(z).all():
        raise FloatingPointError("a logit is NaN or infinite: the network has diverged")
    classes, y = tuple(map(str, classes)), y.to(torch.int64)
    if len(classes) != z.shape[1]:
        raise ValueError(
            f"classes must be {z.shape[1]} names, one per logit, got {len(classes)}"
        )
    # Not from probabilities: softmax can round two different logits to the same one.
    k, guesses = len(classes), z.argmax(1)
    confusion = torch.bincount(k * y + guesses, minlength=k * k).view(k, k).numpy()
    hits = confusion.diagonal().astype(np.float64)
    guessed, support = confusion.sum(0), confusion.sum(1)
    f1 = _ratio(2 * hits, guessed + support)
    return Report(
        classes=classes,
        n=len(y),
        loss=torch.nn.functional.cross_entropy(z, y).item(),
        accuracy=float(hits.sum() / len(y)),
        precision=_ratio(hits, guessed),
        recall=_ratio(hits, support),
        f1=f1,
        support=support,
        macro_f1=float(f1.mean()),
        confusion=confusion,
        calibration_error=calibration_error(z.softmax(1).numpy(), y),
    )
