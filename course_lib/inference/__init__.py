"""Fast answers of a trained network: folded, in 16 bits, as one program.

    quick = fast(model, pictures, others)  # measures what helps on this machine
    print(quick)  # what it tried, what it kept, on how many others the answers agree
    logits = quick(pictures)

Read it in this order: :mod:`.folding` (batch normalization goes into the convolution
before it), :mod:`.programs` (the ways to run a network), :mod:`.comparing` (how far
off each is, and how fast), and :mod:`.choosing` (``fast``: try, check, measure, keep).
"""

from course_lib.inference.choosing import BF16_BOUND, FP32_BOUND, Fast, fast
from course_lib.inference.folding import fold, folded_weights

__all__ = [
    "BF16_BOUND",
    "FP32_BOUND",
    "Fast",
    "fast",
    "fold",
    "folded_weights",
]
