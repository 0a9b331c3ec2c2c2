"""Figures of the Structure chapter: what they draw is what they were given."""

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import pytest
import torch
from matplotlib.colors import to_rgba

from course_book.figures import BLUE, ORANGE
from course_book.figures.structure import batch_norm, photo, residual_unit


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def resnet18_boxes():
    shapes = {"photo": (3, 224, 224), "stem": (64, 112, 112), "maxpool": (64, 56, 56)}
    shapes |= {"layer1": (64, 56, 56), "layer2": (128, 28, 28)}
    shapes |= {"layer3": (256, 14, 14), "layer4": (512, 7, 7), "avgpool": (512, 1, 1)}
    generator = torch.Generator().manual_seed(0)
    boxes = {n: torch.rand(s, generator=generator) for n, s in shapes.items()}
    return {**boxes, "fc": torch.rand(6, generator=generator)}


STEPS = ["conv", "pool", "C C", "S C", "S C", "S C", "mean", "fc"]


def test_boxes_have_the_sizes_of_the_tensors():
    boxes = resnet18_boxes()
    boxes["layer3"][77] *= 5  # the channel with the largest deviation
    figure = photo.draw_boxes(boxes, STEPS)
    (axes,) = figure.axes
    written = [text.get_text() for text in axes.texts]
    for text in (*STEPS, *boxes, "224 × 224 × 3", "7 × 7 × 512", "1 × 1 × 6"):
        assert text in written
    fronts = dict(zip(boxes, axes.images, strict=True))
    widths = {n: i.get_extent()[1] - i.get_extent()[0] for n, i in fronts.items()}
    for name, maps in boxes.items():
        size = maps.shape[-1] if maps.ndim == 3 else 1
        ratio = widths[name] / widths["photo"]
        assert ratio == pytest.approx((size / 224) ** 0.5)
    assert (fronts["layer3"].get_array() == boxes["layer3"][77].numpy()).all()


def test_words_beside_boxes_stay_within_the_page_and_apart():
    figure = photo.draw_boxes(resnet18_boxes(), STEPS)
    assert figure.get_figwidth() <= 6.4
    figure.canvas.draw()
    words = [text for text in figure.axes[0].texts if text.get_text()]  # no arrows
    found = [text.get_window_extent() for text in words]
    for index, box in enumerate(found):
        assert box.x0 >= -1 and box.x1 <= figure.bbox.x1 + 1
        assert box.y0 >= -1 and box.y1 <= figure.bbox.y1 + 1
        assert not any(box.padded(-1).overlaps(other) for other in found[index + 1 :])


def test_boxes_name_what_does_not_fit():
    boxes = resnet18_boxes()
    with pytest.raises(ValueError, match="9 boxes need 8 steps"):
        photo.draw_boxes(boxes, STEPS[:-1])
    with pytest.raises(ValueError, match="'stem' must be"):
        photo.draw_boxes({**boxes, "stem": torch.zeros(3, 4)}, STEPS)


def test_maps_are_the_first_channels_from_above():
    columns = {"a": torch.randn(5, 9, 9), "b": torch.randn(3, 4, 4)}
    figure = photo.draw_maps(columns, count=2)
    images = [axes.images[0].get_array() for axes in figure.axes]
    wanted = [maps[k] for maps in columns.values() for k in (0, 1)]
    for image, values in zip(images, wanted, strict=True):
        assert (image == values.numpy()).all()
    first, second = (axes.get_position() for axes in figure.axes[:2])
    assert first.y0 > second.y1 and first.x0 == second.x0


def channels(*negative):
    """100 values per channel, so many of them negative."""
    z = torch.linspace(1, 2, 100).repeat(len(negative), 1)
    for row, count in zip(z, negative):
        row[:count] *= -1
    return z.view(1, len(negative), 10, 10)


def test_idle_is_at_least_99_percent_on_one_side():
    z = channels(0, 1, 2, 50, 98, 99, 100)
    assert batch_norm.idle(z).tolist() == [True, True, *[False] * 3, True, True]
    z = torch.cat([channels(0, 0, 100, 100), channels(2, 3, 98, 97)])
    assert batch_norm.idle(z).tolist() == [True, False, True, False]


def test_idle_channels_are_orange():
    panels = {"without": channels(0, 100, 100, 50), "with": channels(40, 50, 60, 70)}
    figure = batch_norm.draw_signs(panels)
    for axes, orange in zip(figure.axes, (3, 0)):
        (lines,) = axes.collections
        drawn = [tuple(color) for color in lines.get_colors()]
        assert drawn.count(to_rgba(ORANGE)) == orange
        assert drawn.count(to_rgba(BLUE)) == 4 - orange
        for segment, color in zip(lines.get_segments(), drawn, strict=True):
            low, high = segment[:, 1]
            assert (low * high > 0) == (color == to_rgba(ORANGE))
    assert "orange: 3 idle" in [text.get_text() for text in figure.axes[0].texts]


def test_the_batch_says_how_many_values_share_a_mean():
    figure = batch_norm.draw_batch(photos=3, channels=8, size=5)
    words = " ".join(text.get_text() for text in figure.axes[0].texts)
    assert "3 · 5 · 5 = 75 values" in words and "photo 3" in words
    marked = [p for p in figure.axes[0].patches if p.get_facecolor() == to_rgba(ORANGE)]
    assert len(marked) == 3


def test_the_running_mean_is_drawn_as_given():
    figure = batch_norm.draw_running([1.0, 2.0, 3.0], [0.0, 0.1, 0.29, 0.561])
    dots, line = figure.axes[0].lines
    assert dots.get_xydata().tolist() == [[1, 1], [2, 2], [3, 3]]
    assert line.get_xydata().tolist() == [[0, 0], [1, 0.1], [2, 0.29], [3, 0.561]]


def test_chains_say_where_they_end():
    plain = torch.full((11, 20), 0.1).cumprod(1)
    residual = torch.linspace(0.5, 1.5, 11)[:, None].expand(-1, 20)
    figure = residual_unit.draw_chains({"plain": plain, "residual": residual})
    words = " ".join(text.get_text() for text in figure.axes[0].texts)
    assert "10 to the power −20 after 20 pairs" in words
    assert "median 1.0 after 20 pairs" in words
    medians = figure.axes[0].lines[1].get_ydata()
    assert medians.tolist() == pytest.approx([1.0] * 20)


def test_gradients_and_their_theory():
    growth = {"plain": [1.0, 4.0, 9.0], "residual": [1.0, 2.0, 3.0]}
    panels = {"small": growth, "BN": growth}
    figure = residual_unit.draw_gradients(panels, (1, 2, 4), per_layer=1.5)
    for axes in figure.axes:
        assert axes.lines[0].get_xydata().tolist() == [[1, 1], [2, 4], [4, 9]]
    assert len(figure.axes[0].lines) == 2
    theory = figure.axes[1].lines[2].get_ydata()
    assert theory == pytest.approx([1.5**2, 1.5**4, 1.5**8])
