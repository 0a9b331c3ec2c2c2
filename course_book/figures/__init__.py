"""One style for every figure of the book, and the helpers that draw them.

There is a folder for each chapter. A module that one notebook uses has the notebook's
name; one that several use has the name of what it draws.

Figures have a white ground and dark ink. The book inverts them in its dark
theme, keeping hues; a cell whose picture must keep its colors (photographs,
feature maps) carries ``"classes": ["keep-colors"]`` in its metadata.

Width at most 6.4 inches and type of at least 10 points: then a figure is
readable on a phone that is 390 px wide.
"""

from __future__ import annotations

import matplotlib as mpl
import matplotlib.pyplot as plt

# Okabe and Ito's palette (2008), distinguishable with any color vision; yellow
# is left out because thin yellow lines vanish on white.
BLUE = "#0072B2"
ORANGE = "#D55E00"
GREEN = "#009E73"
PINK = "#CC79A7"
SKY = "#56B4E9"
AMBER = "#E69F00"
INK = "#1f2328"
MUTED = "#59636e"
FAINT = "#d1d9e0"

STYLE = {
    "figure.figsize": (6.0, 3.4),
    "figure.dpi": 100,
    "figure.constrained_layout.use": True,
    "savefig.facecolor": "white",
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 10.5,
    "axes.titlesize": 11.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 10.5,
    "axes.labelcolor": INK,
    "axes.edgecolor": MUTED,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": FAINT,
    "grid.linewidth": 0.6,
    "axes.prop_cycle": mpl.cycler(color=[BLUE, ORANGE, GREEN, PINK, SKY, AMBER]),
    "lines.linewidth": 2.0,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "text.color": INK,
    "legend.frameon": False,
    "image.cmap": "viridis",
    "image.interpolation": "nearest",
}


def use_style() -> None:
    """Set the book's style, and two pixels per CSS pixel in notebooks."""
    plt.rcParams.update(STYLE)
    try:
        from matplotlib_inline.backend_inline import set_matplotlib_formats
    except ImportError:  # outside IPython there is nothing to set
        return
    set_matplotlib_formats("retina")
