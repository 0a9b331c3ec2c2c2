"""The size formula with its numbers written out, for notebooks and the command."""

import math
from collections.abc import Iterator, Sequence

from course_lib.dimensions import Layer, Size, output_size, receptive_field, unread

# For consoles that cannot show these signs.
ASCII = {"⌊": "floor(", "⌈": "ceil(", "⌋": ")", "⌉": ")", "·": "*", "−": "-"}


def arithmetic(size: int, layer: Layer) -> str:
    """The size formula along one axis, with its numbers and the floor shown."""
    _, k, s, p, d, ceil_mode = layer
    window = f"{d}·({k} − 1) − 1" if d > 1 else f"{k}"  # D(K − 1) + 1 is K if D = 1
    quotient = (size + 2 * p - d * (k - 1) - 1) / s
    left, right = "⌈⌉" if ceil_mode else "⌊⌋"
    out = output_size(size, k, s, p, d, kind=layer.kind, ceil_mode=ceil_mode)
    rounded = math.ceil(quotient) if ceil_mode else math.floor(quotient)
    late = " − 1 (it would start in the padding)" if rounded + 1 > out else ""
    return (
        f"{left}({size} + 2·{p} − {window})/{s}{right} + 1 = "
        f"{left}{quotient:g}{right} + 1{late} = {out}"
    )


def parse_layer(text: str) -> Layer:
    """Read ``conv:7,2,3`` or ``pool:3,2,1,1,ceil``: kind, K, S, P, D."""
    kind, _, numbers = text.partition(":")
    words = [word.strip() for word in numbers.split(",")]
    ceil_mode = words[-1] == "ceil"
    try:
        layer = Layer(kind, *map(int, words[: len(words) - ceil_mode]))
    except (TypeError, ValueError):
        raise ValueError(
            f"layer must look like conv:K,S,P,D or pool:K,S,P,ceil, got {text!r}; "
            "only K is required"
        ) from None
    return layer._replace(ceil_mode=ceil_mode)


def lines(size: Size, layers: Sequence[Layer]) -> Iterator[str]:
    """The command's output: per axis, one line of arithmetic for each layer."""
    axes = {"": size} if isinstance(size, int) else dict(zip(("height", "width"), size))
    for axis, n in axes.items():
        yield f"{axis} {n}".strip()
        for layer, field in zip(layers, receptive_field(layers)):
            left = unread(n, *layer[1:5], kind=layer.kind, ceil_mode=layer.ceil_mode)
            settings = ",".join(map(str, layer[1:5]))
            yield f"  {layer.kind} {settings}: {arithmetic(n, layer)}"
            yield (
                f"    unread: {left.padding} padded and {left.edge} real at the edge, "
                f"{left.between} between; sees {field.size}, jump {field.jump}"
            )
            n = output_size(n, *layer[1:5], kind=layer.kind, ceil_mode=layer.ceil_mode)
