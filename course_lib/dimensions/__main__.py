"""Sizes on the command line: ``python -m course_lib.dimensions``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from course_lib.dimensions import output_size
from course_lib.dimensions.text import lines, parse_layer


def main(arguments: Sequence[str] | None = None) -> None:
    """Print what the arguments ask for; a bad one ends with exit code 2."""
    parser = argparse.ArgumentParser(
        prog="python -m course_lib.dimensions",
        description="Sizes after each layer, with the arithmetic written out.",
    )
    parser.add_argument("size", help="rows of the input, or HxW")
    parser.add_argument(
        "--layer",
        action="append",
        default=[],
        metavar="KIND:K,S,P,D",
        help="conv or pool; repeat for a chain; ,ceil after a pool rounds up",
    )
    options = parser.parse_args(arguments)
    try:
        sizes = [
            int(part) if part.isdecimal() else part
            for part in options.size.lower().split("x")
        ]
        size = sizes[0] if len(sizes) == 1 else tuple(sizes)
        output_size(size, 1)  # refuses what is no size
        print("\n".join(lines(size, [parse_layer(text) for text in options.layer])))
    except ValueError as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
