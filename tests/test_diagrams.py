"""The diagrams say what the code does: units, their drawing, feature maps."""

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from course_book.figures.mechanism.maps import feature_maps
from course_book.figures.structure.diagrams import draw_units
from course_book.figures.structure.units import describe_unit, unit_flow
from course_lib import resnet


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def make_unit(block, in_channels, width, stride):
    out_channels = width * block.expansion
    downsample = None
    if block is not resnet.PlainBlock and (stride != 1 or in_channels != out_channels):
        downsample = nn.Sequential(
            resnet.conv1x1(in_channels, out_channels, stride),
            nn.BatchNorm2d(out_channels),
        )
    return block(in_channels, width, stride, downsample)


def texts(figure):
    return [text.get_text() for text in figure.axes[0].texts]


@settings(max_examples=25, deadline=None)
@given(
    block=st.sampled_from([resnet.BasicBlock, resnet.Bottleneck, resnet.PlainBlock]),
    in_channels=st.integers(1, 12),
    width=st.integers(1, 6),
    stride=st.integers(1, 3),
    size=st.integers(1, 9),
)
def test_the_flow_has_the_shapes_that_hooks_see(
    block, in_channels, width, stride, size
):
    unit = make_unit(block, in_channels, width, stride).eval()
    seen = {}
    for name, module in unit.named_modules():
        if not list(module.children()) and name != "relu":  # relu runs twice
            module.register_forward_hook(
                lambda m, args, out, name=name: seen.__setitem__(name, out.shape[1:])
            )
    out = unit(torch.randn(1, in_channels, size, size + 1))
    flow = unit_flow(unit, (in_channels, size, size + 1))
    steps = [*flow.main, *(flow.shortcut or ()), *flow.after]
    assert {s.name: torch.Size(s.shape) for s in steps if s.name != "relu"} == seen
    assert flow.output_shape == tuple(out.shape[1:])
    relus = sum(step.name == "relu" for step in steps)
    assert relus == (3 if block is resnet.Bottleneck else 2)


def test_the_order_is_read_off_forward_and_not_assumed():
    class ReluTooEarly(resnet.BasicBlock):
        def forward(self, x):
            return (
                self.relu(self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))) + x
            )

    real = unit_flow(resnet.BasicBlock(4, 4), (4, 8, 8))
    wrong = unit_flow(ReluTooEarly(4, 4), (4, 8, 8))
    assert [s.name for s in real.main] == ["conv1", "bn1", "relu", "conv2", "bn2"]
    assert [s.name for s in real.after] == ["relu"]
    assert [s.name for s in wrong.main][-1] == "relu"
    assert wrong.after == ()


def test_shortcuts_of_every_unit_of_resnet18():
    model = resnet.resnet18()
    stages = (model.layer1, model.layer2, model.layer3, model.layer4)
    letters = ""
    shape = (64, 56, 56)
    for unit in (unit for stage in stages for unit in stage):
        flow = unit_flow(unit, shape)
        letters += "S" if flow.shortcut else "C"
        shape = flow.output_shape
    assert (letters, shape) == ("CCSCSCSC", (512, 7, 7))
    assert unit_flow(resnet.plain18().layer2[0], (64, 56, 56)).shortcut is None


def test_tracing_leaves_the_unit_alone():
    unit = resnet.BasicBlock(4, 4)
    unit_flow(unit, (4, 8, 8))
    assert unit.training
    assert unit.conv1.weight.device.type == "cpu"
    assert int(unit.bn1.num_batches_tracked) == 0


def test_description_of_a_projection():
    unit = make_unit(resnet.BasicBlock, 64, 128, 2)
    assert describe_unit(unit, (64, 56, 56)).splitlines() == [
        "input     [64, 56, 56]",
        "main      conv1 (3×3, 2, 1), bn1, relu, conv2 (3×3, 1, 1), bn2",
        "shortcut  downsample.0 (1×1, 2, 0), downsample.1",
        "after +   relu",
        "output    [128, 28, 28]",
    ]


def test_a_drawing_shows_the_attributes():
    unit = make_unit(resnet.BasicBlock, 6, 10, 2)
    unit.conv2 = nn.Conv2d(10, 10, kernel_size=5, padding=2)
    found = texts(draw_units({"A unit": unit}, (6, 30, 40)))
    for text in ("A unit", "(3×3, 2, 1)", "conv1: 6 → 10", "(5×5, 1, 2)"):
        assert found.count(text) == 1, text
    assert found.count("[6, 30, 40]") == 1
    assert found.count("[10, 15, 20]") == 4  # after each convolution, at the end
    assert found.count("BN") == 3
    assert found.count("ReLU") == 2
    assert "identity" not in found
    identity = texts(draw_units({"": resnet.BasicBlock(6, 6)}, (6, 30, 40)))
    assert "identity" in identity
    plain = texts(draw_units({"": resnet.PlainBlock(6, 6)}, (6, 30, 40)))
    assert "identity" not in plain
    assert "F(x)" not in plain


def test_text_stays_within_the_page_and_apart():
    deep = resnet.resnet50()
    figure = draw_units(
        {"identity": deep.layer4[1], "projection": deep.layer4[0]},
        [(2048, 7, 7), (1024, 14, 14)],
    )
    assert figure.get_figwidth() <= 6.4
    figure.canvas.draw()
    boxes = [text.get_window_extent() for text in figure.axes[0].texts]
    for index, box in enumerate(boxes):
        assert box.x0 >= 0 and box.x1 <= figure.bbox.x1
        assert box.y0 >= 0 and box.y1 <= figure.bbox.y1
        for other in boxes[index + 1 :]:
            assert not box.padded(-1).overlaps(other.padded(-1))
    assert min(text.get_fontsize() for text in figure.axes[0].texts) >= 10


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: unit_flow(resnet.BasicBlock(4, 4), (8, 8)), r"\[C, H, W\]"),
        (lambda: unit_flow(resnet.BasicBlock(4, 4), (4, 0, 8)), "positive"),
        (lambda: unit_flow(resnet.BasicBlock(4, 4), (3, 8, 8)), r"\[3, 8, 8\]"),
        (lambda: unit_flow(resnet.BasicBlock(4, 8), (4, 8, 8)), "does not take"),
        (lambda: unit_flow(resnet.resnet18().layer1, (64, 8, 8)), "adds? two tensors"),
        (lambda: draw_units({}, (4, 8, 8)), "0 units"),
        (
            lambda: draw_units({"a": resnet.BasicBlock(4, 4)}, [(4, 8, 8)] * 2),
            "1 units but 2",
        ),
        (lambda: feature_maps({}), "empty"),
        (lambda: feature_maps({"a": torch.zeros(3, 4)}), r"\[C, H, W\]"),
        (lambda: feature_maps({"a": torch.zeros(3, 4, 4)}, columns=0), "columns"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_feature_maps_draw_the_first_channels():
    maps = {"one": torch.randn(7, 12, 12), "two": torch.randn(2, 3, 3)}
    figure = feature_maps(maps, columns=4)
    images = [axes.images[0].get_array() for axes in figure.axes]
    assert len(images) == 4 + 2
    for image, values in zip(images, [*maps["one"][:4], *maps["two"]]):
        assert (image == values.numpy()).all()
    assert [text.get_text() for text in figure.texts] == [
        *("one", "[7, 12, 12]"),
        *("two", "[2, 3, 3]"),
    ]
