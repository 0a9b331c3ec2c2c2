"""The explorers as widgets: typed values that Python and the reader share.

anywidget (https://anywidget.dev) carries the values between the ES module in the
browser and the kernel. Each class has the values of its module as traits, so that
``explorer.observe(function, names="size")`` calls a function when the reader moves a
slider, and ``explorer.size = 56`` moves the slider.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import anywidget
import traitlets

from course_book.explorers.page import HERE, embed, module, read_data, read_more, style
from course_lib.dimensions import output_size

if TYPE_CHECKING:
    from course_lib.ledger import Ledger

__all__ = [
    "ActivationsExplorer",
    "BatchNormExplorer",
    "ConvBackwardExplorer",
    "ConvolutionExplorer",
    "GradientFlowExplorer",
    "NetworkExplorer",
]


def whole(name: str, key: str) -> traitlets.Int:
    """An integer of an explorer within its limits."""
    data = read_data(name)
    low, high = data["limits"][key][:2]
    return traitlets.Int(data["state"][key], min=low, max=high).tag(sync=True)


def number(name: str, key: str) -> traitlets.Float:
    """A number of an explorer within its limits."""
    data = read_data(name)
    low, high = data["limits"][key][:2]
    return traitlets.Float(data["state"][key], min=low, max=high).tag(sync=True)


def one_of(name: str, key: str) -> traitlets.Enum:
    """One of several values."""
    data = read_data(name)
    return traitlets.Enum(data["limits"][key]["oneOf"], data["state"][key]).tag(
        sync=True
    )


def switch(name: str, key: str) -> traitlets.Bool:
    """On or off."""
    return traitlets.Bool(read_data(name)["state"][key]).tag(sync=True)


def numbers(name: str, key: str) -> traitlets.List:
    """A list of numbers of an explorer, each within the limits."""
    data = read_data(name)
    low, high = data["limits"][key][:2]
    one = traitlets.Float(min=low, max=high)
    return traitlets.List(one, data["state"][key], minlen=1, maxlen=data["most"]).tag(
        sync=True
    )


class Explorer(anywidget.AnyWidget):
    """What all explorers share: files by name, and how they look without a kernel.

    Keyword arguments are the values to start with.

    Raises:
        ValueError: for a value that the explorer does not have.
        traitlets.TraitError: for a value of another type or out of its limits.
    """

    name: ClassVar[str]
    _esm = ""
    _css = HERE / "explorers.css"
    _data = traitlets.Dict().tag(sync=True)

    def __init__(self, **values: Any) -> None:
        data = read_data(self.name)
        strange = sorted(set(values) - set(data["state"]))
        if strange:
            raise ValueError(
                f"{type(self).__name__} has no {', '.join(strange)}; "
                f"it has {', '.join(data['state'])}"
            )
        if "file" in data:  # in a page a script, loaded when it is seen
            data = data | {"more": read_more(data["file"])}
        super().__init__(_data=data, **values)

    @property
    def state(self) -> dict[str, Any]:
        """All values, as the reader sees them now."""
        return {key: getattr(self, key) for key in read_data(self.name)["state"]}

    def __repr__(self) -> str:
        start = read_data(self.name)["state"]
        changed = (
            f"{key}={value!r}"
            for key, value in self.state.items()
            if value != start[key]
        )
        return f"{type(self).__name__}({', '.join(changed)})"

    def _repr_mimebundle_(self, **kwargs: Any) -> tuple[dict, dict]:
        """A live widget, and HTML that needs no kernel; the same in every run."""
        data, metadata = super()._repr_mimebundle_(**kwargs)
        data["text/plain"] = repr(self)
        data["text/html"] = embed(self.name, self.state)
        return data, metadata


class ConvolutionExplorer(Explorer):
    """Convolution arithmetic: size N, kernel K, stride S, padding P, dilation D.

    ``kind`` is "conv" or "pool", ``ceil_mode`` rounds up (pooling only), ``row`` and
    ``column`` are the output position whose window is shown; -1 is the last one.
    """

    name = "convolution"
    _esm = module("convolution")
    size = whole("convolution", "size")
    kernel = whole("convolution", "kernel")
    stride = whole("convolution", "stride")
    padding = whole("convolution", "padding")
    dilation = whole("convolution", "dilation")
    kind = one_of("convolution", "kind")
    ceil_mode = switch("convolution", "ceil_mode")
    row = whole("convolution", "row")
    column = whole("convolution", "column")

    @property
    def output(self) -> int:
        """Rows that come out of the present settings.

        Raises:
            ValueError: where there is no such layer, as in
                :func:`course_lib.dimensions.output_size`.
        """
        return output_size(
            self.size,
            self.kernel,
            self.stride,
            self.padding,
            self.dilation,
            kind=self.kind,
            ceil_mode=self.ceil_mode,
        )


class ConvBackwardExplorer(Explorer):
    """A convolution backward: what each input or each weight collects from δ.

    ``view`` is "input" or "weights"; ``row`` and ``column`` are the place in ∂L/∂x or
    in ∂L/∂w, ``term`` counts the products of its sum that have been added, from 1.
    The kernel is 1, 2, 3, … row by row; size N, kernel K, stride S, padding P and
    dilation D are those of the forward pass.
    """

    name = "conv_backward"
    _esm = module("conv_backward")
    view = one_of("conv_backward", "view")
    size = whole("conv_backward", "size")
    kernel = whole("conv_backward", "kernel")
    stride = whole("conv_backward", "stride")
    padding = whole("conv_backward", "padding")
    dilation = whole("conv_backward", "dilation")
    row = whole("conv_backward", "row")
    column = whole("conv_backward", "column")
    term = whole("conv_backward", "term")


class NetworkExplorer(Explorer):
    """A ResNet as a map: ``depth``, ``size`` of the photo, ``stem``, ``classes``.

    ``unit`` is the one that is open, such as "layer2.0", "stem" or "head"; ``batch``
    photos train in ``memory`` GiB, or do not.
    """

    name = "network"
    _esm = module("network")
    depth = one_of("network", "depth")
    size = whole("network", "size")
    stem = one_of("network", "stem")
    classes = one_of("network", "classes")
    batch = whole("network", "batch")
    memory = one_of("network", "memory")
    unit = one_of("network", "unit")

    @property
    def ledger(self) -> Ledger:
        """The table behind the map, :func:`course_lib.ledger.ledger`, for the batch."""
        import torch

        from course_lib.ledger import ledger
        from course_lib.resnet import resnet

        with torch.device("meta"):
            model = resnet(self.depth, stem=self.stem, num_classes=self.classes)
        model.to_empty(device="cpu")  # shapes count, values do not
        return ledger(model, (self.batch, 3, self.size, self.size))


class BatchNormExplorer(Explorer):
    """One channel through batch normalization: ``values``, ``gamma``, ``beta``.

    ``mode`` is "train" or "eval"; ``running_mean`` and ``running_var`` are what the
    layer remembers after ``seen`` batches.
    """

    name = "batch_norm"
    _esm = module("batch_norm")
    values = numbers("batch_norm", "values")
    gamma = number("batch_norm", "gamma")
    beta = number("batch_norm", "beta")
    mode = one_of("batch_norm", "mode")
    running_mean = number("batch_norm", "running_mean")
    running_var = number("batch_norm", "running_var")
    seen = whole("batch_norm", "seen")


class GradientFlowExplorer(Explorer):
    """The gradient in front of every unit: scalar chains beside real networks.

    ``units`` and ``scale`` (on He initialization), ``activation``, ``norm`` (with
    batch normalization) choose networks of
    :mod:`course_book.experiments.gradient_flow`; ``shortcut`` is "both", "off" or "on".
    """

    name = "gradient_flow"
    _esm = module("gradient_flow")
    units = one_of("gradient_flow", "units")
    scale = one_of("gradient_flow", "scale")
    activation = one_of("gradient_flow", "activation")
    norm = switch("gradient_flow", "norm")
    shortcut = one_of("gradient_flow", "shortcut")


class ActivationsExplorer(Explorer):
    """One photo's way through the trained network.

    ``step`` is a layer or unit, "conv1" or "layer2.0", ``map`` one of the six
    channels that are shown (1 to 6), ``place`` the place in the photo: "crack",
    "cable", "wall" or "corner". ``branch``, "F" or "shortcut", says which branch of
    a unit is opened, ``part`` which of the largest parts of its sum (1 to 5), and
    ``answer`` which class the last layer is asked about.
    """

    name = "activations"
    _esm = module("activations")
    _css = style("activations")
    step = one_of("activations", "step")
    map = whole("activations", "map")
    place = one_of("activations", "place")
    branch = one_of("activations", "branch")
    part = whole("activations", "part")
    answer = one_of("activations", "answer")

    def _chosen(self) -> tuple[dict[str, Any], int, int]:
        more = self._data["more"]
        step = more["steps"][self.step]
        if step["kind"] == "head":
            return step, more["classes"].index(self.answer), 0
        place = [name for name, *_ in more["places"]].index(self.place)
        place = min(place, len(step["truth"]["out"][0]) - 1)  # one, once averaged
        return step, min(self.map, len(step["channels"])) - 1, place

    @property
    def channel(self) -> int:
        """Number of the map in its layer, from 0; at the end, of the class."""
        step, index, _ = self._chosen()
        return step.get("channels", range(index + 1))[index]

    @property
    def position(self) -> tuple[int, int]:
        """Row and column in the map, from 0; (0, 0) where there is no map any more."""
        step, _, place = self._chosen()
        return tuple(step["at"][place]) if "at" in step else (0, 0)

    @property
    def value(self) -> float:
        """What the network computes there, with four decimals.

        The output of the step: after the ReLU, at "photo" after normalization, at
        "fc" the logit.
        """
        step, index, place = self._chosen()
        out = step["truth"]["out"][index]
        return out if isinstance(out, float) else out[place]
