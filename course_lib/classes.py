"""The six classes of the running example: three surfaces, cracked or not.

The order is fixed for good: an odd label is a crack, and ``label // 2`` is the
surface, so that ``label % 2`` asks the question most readers have.
"""

from __future__ import annotations

__all__ = ["CRACK_CLASSES", "SURFACES"]

SURFACES = ("deck", "pavement", "wall")
CRACK_CLASSES = tuple(
    f"{state} {surface}" for surface in SURFACES for state in ("uncracked", "cracked")
)
