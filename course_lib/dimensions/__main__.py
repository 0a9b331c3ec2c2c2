"""Sizes on the command line: ``python -m course_lib.dimensions``."""

import argparse
import os
import sys
from collections.abc import Sequence

from course_lib.dimensions import output_size
from course_lib.dimensions.text import ASCII, lines, parse_layer


def show(text: str) -> None:
    """Print on any console; a reader that has enough (``| head``) is no error."""
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:
        text = text.translate(str.maketrans(ASCII))
    try:
        print(text, flush=True)
    except BrokenPipeError:  # what Python writes when it ends goes nowhere
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


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
        parts = options.size.lower().split("x")
        sizes = [int(part) if part.isdecimal() else part for part in parts]
        size = sizes[0] if len(sizes) == 1 else tuple(sizes)
        output_size(size, 1)  # refuses what is no size
        text = "\n".join(lines(size, [parse_layer(text) for text in options.layer]))
    except ValueError as error:
        parser.error(str(error))
    show(text)


if __name__ == "__main__":
    main()
