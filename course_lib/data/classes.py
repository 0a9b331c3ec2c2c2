"""The six classes of the running example: three surfaces, cracked or not.

The order is fixed for good: an odd label is a crack, and ``label // 2`` is the
surface, so that ``label % 2`` asks the question most readers have. The names are for
people, and no code depends on them; ``SURFACES`` are keys of drawings and tables.
"""

from __future__ import annotations

__all__ = ["CRACK_CLASSES", "SURFACES"]

SURFACES = ("deck", "pavement", "wall")
CRACK_CLASSES = (
    "uncracked deck",
    "cracked deck",
    "uncracked pavement",
    "cracked pavement",
    "uncracked wall",
    "cracked wall",
)
