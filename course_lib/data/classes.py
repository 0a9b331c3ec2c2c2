"""The six classes of the running example: three surfaces, cracked or not.

The order is fixed for good: an odd label is a crack, and ``label // 2`` the surface.
"""

SURFACES = ("deck", "pavement", "wall")
CRACK_CLASSES = (
    "uncracked deck",
    "cracked deck",
    "uncracked pavement",
    "cracked pavement",
    "uncracked wall",
    "cracked wall",
)
