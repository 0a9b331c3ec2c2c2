"""The figures of the Code chapter draw the numbers that they are given."""

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from matplotlib.colors import to_rgb

from course_book.figures.code.debugging_clinic import (
    dead_channels,
    draw_activations,
    draw_silent,
)
from course_book.figures.code.growing_the_loop import draw_errors, draw_resumed
from course_book.figures.code.judging import COUNTS, draw_answers, draw_confusion
from course_book.figures.code.preprocessing import draw_inputs, draw_lost, draw_resized
from course_book.figures.code.skip_zoo import draw_zoo
from course_book.figures.code.training_loop import (
    draw_history,
    draw_rate_finder,
    draw_schedule,
)


@pytest.fixture(autouse=True)
def _close():
    yield
    plt.close("all")


def luminance(color):
    """Relative luminance as WCAG 2 defines it, channel by channel."""
    linear = [
        v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4
        for v in to_rgb(color)
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_counts_can_be_read_on_every_shade():
    for count in range(101):
        matrix = np.array([[count, 100 - count], [0, 1]])
        for text in draw_confusion({"": matrix}, ["a", "b"]).axes[0].texts:
            column, row = text.get_position()
            share = matrix[row, column] / matrix[row].sum()
            both = luminance(text.get_color()), luminance(COUNTS(share))
            assert (max(both) + 0.05) / (min(both) + 0.05) >= 4.5
        plt.close("all")


def test_an_answer_and_the_truth_stand_in_lines_of_their_own():
    names = ["uncracked pavement", "cracked wall", "deck"]
    logits = torch.tensor([[5.0, 0, 0], [0, 5, 0], [0, 0, 5]])
    figure = draw_answers(torch.rand(3, 1, 4, 4), [1, 1, 0], logits, names)
    titles = [ax.get_title(loc="left").splitlines() for ax in figure.axes[:3]]
    assert titles[0][:3] == ["said uncracked", "pavement, 99\xa0%", "is cracked wall"]
    assert titles[1][:3] == ["said cracked", "wall, 99\xa0%", "right"]
    assert titles[2][2:] == ["is uncracked", "pavement"]


def test_the_clinic_draws_losses_floor_and_accuracies():
    losses = {"right": [2.0, 0.5, 0.0], "wrong": [2.0, 1.6, 1.5]}
    scores = {"eval": [0.9, 0.9], "train": [0.8, 0.25]}
    left, right = draw_silent(losses, 1.46, scores, ["mixed", "sorted"]).axes
    assert [list(line.get_ydata()) for line in left.lines[:2]] == list(losses.values())
    assert set(left.lines[2].get_ydata()) == {1.46}
    assert "1.46" in [text.get_text() for text in left.texts]
    drawn = [[round(y, 6) for y in line.get_ydata()] for line in right.lines]
    assert drawn == [[90, 90], [80, 25]]
    for place in (0, 1):  # both points stand at their own tick
        assert all(abs(line.get_xdata()[place] - place) < 0.2 for line in right.lines)
    assert [label.get_text() for label in right.get_xticklabels()] == [
        "mixed",
        "sorted",
    ]


def test_the_clinic_wants_an_accuracy_for_every_kind_of_batch():
    with pytest.raises(ValueError, match=r"accuracies\['eval'\] has 1 numbers for 2"):
        draw_silent({"a": [1.0]}, 1.46, {"eval": [0.9]}, ["mixed", "sorted"])


def test_pictures_share_one_gray_scale():
    pictures = {"dark": np.zeros((4, 4)), "light": np.full((2, 2), 200)}
    axes = draw_resized(pictures, limits=(80, 165)).axes
    titles = [ax.get_title() or ax.get_title("left") for ax in axes]
    assert titles == ["dark", "light"]
    assert [ax.images[0].get_clim() for ax in axes] == [(80, 165), (80, 165)]
    assert (axes[1].images[0].get_array() == 200).all()


def test_accuracy_and_confidence_stand_on_the_line_of_their_input():
    results = {"right": (0.9, 0.8), "wrong": (0.2, 0.95)}
    (ax,) = draw_inputs(results, chance=0.25).axes
    accuracy, confidence = (dots.get_offsets().tolist() for dots in ax.collections)
    assert accuracy == [[90, 0], [20, 1]]
    assert confidence == [[80, 0], [95, 1]]
    assert [label.get_text() for label in ax.get_yticklabels()] == list(results)
    assert ax.lines[-1].get_xdata()[0] == 25  # the line of guessing
    joined = [list(line.get_xdata()) for line in ax.lines[:2]]
    assert joined == [[90, 80], [20, 95]]


def test_lost_views_are_drawn_in_percent():
    (ax,) = draw_lost([0.08, 0.5], [0.25, 0.1]).axes
    assert ax.lines[0].get_xydata().tolist() == [[8, 25], [50, 10]]


def test_the_finder_draws_each_optimizer_on_a_logarithmic_axis():
    curves = {"a": ([1e-3, 1e-2], [2.0, 1.0]), "b": ([1e-2, 1e-1], [2.0, 9.0])}
    (ax,) = draw_rate_finder(curves, top=3).axes
    assert ax.get_xscale() == "log"
    assert ax.get_ylim() == (0, 3)
    drawn = [tuple(map(list, line.get_data())) for line in ax.lines]
    assert drawn == list(curves.values())


def test_warm_up_and_cosine_meet_and_cover_every_step():
    rates = [1, 2, 3, 2, 1, 0]
    (ax,) = draw_schedule(rates, rising=2).axes
    warm, cosine = (line.get_xydata().tolist() for line in ax.lines)
    assert warm == [[1, 1], [2, 2], [3, 3]]
    assert cosine == [[3, 3], [4, 2], [5, 1], [6, 0]]


def test_the_history_marks_the_epoch_that_was_kept():
    names = ("train_loss", "train_accuracy", "validation_loss", "validation_accuracy")
    values = [(2.0, 0.25, 1.0, 0.5), (1.0, 0.5, 0.5, 0.75)]
    rows = [dict(zip(names, v)) | {"epoch": k} for k, v in enumerate(values, 1)]
    losses, errors = draw_history(rows, best=2).axes
    assert [list(line.get_ydata()) for line in losses.lines[:2]] == [[2, 1], [1, 0.5]]
    assert [list(line.get_ydata()) for line in errors.lines[:2]] == [[75, 50], [50, 25]]
    assert losses.lines[2].get_xdata()[0] == errors.lines[2].get_xdata()[0] == 2


def test_the_zoo_draws_mean_losses_and_the_last_errors():
    def row(kind, seed, epoch, loss, error=None):
        return {
            "kind": kind,
            "seed": seed,
            "epoch": epoch,
            "train_loss": loss,
            "test_error": error,
        }

    rows = [row("a", 0, 1, 2.0), row("a", 0, 2, 1.0, 5.0), row("a", 1, 1, 1.0)]
    rows += [row("a", 1, 2, 0.5, 7.0), row("b", 0, 1, 3.0), row("b", 0, 2, 2.0, 40.0)]
    left, right = draw_zoo(rows, ["a", "b"]).axes
    assert [list(line.get_ydata()) for line in left.lines] == [[1.5, 0.75], [3, 2]]
    assert [line.get_xydata().tolist() for line in right.lines] == [
        [[5, 0], [7, 0]],
        [[40, 1]],
    ]
    assert [label.get_text() for label in right.get_yticklabels()] == ["a", "b"]


def test_every_seed_has_its_line_in_percent():
    runs = {"a": [[0.5, 0.1], [0.4, 0.2]], "b": [[0.3, 0.05]]}
    panels = draw_errors(runs).axes
    assert [ax.get_title(loc="left") for ax in panels] == ["a", "b"]
    drawn = [[list(line.get_ydata()) for line in ax.lines] for ax in panels]
    assert drawn == [[[50, 10], [40, 20]], [[30, 5]]]


def test_a_training_resumed_whole_lies_on_the_one_without_interruption():
    losses = [2.0, 1.0, 0.5, 0.25]
    curves = {"whole": losses, "resumed": losses, "weights": [2.0, 1.0, 0.9, 0.8]}
    lines = draw_resumed(curves, 2).axes[0].lines
    wide, thin, other = (list(line.get_ydata()) for line in lines[:3])
    assert wide == thin != other
    assert wide[0] == 2.0 and wide[:2] == other[:2]
    assert lines[0].get_linewidth() > lines[1].get_linewidth()
    assert list(lines[3].get_xdata()) == [2, 2]


def test_a_channel_without_a_positive_value_is_dead():
    values = torch.full((2, 4, 3, 3), -1.0)
    values[1, 0, 2, 2] = 0.5  # one positive value keeps a channel alive
    values[:, 1] = 0.0
    assert dead_channels(values) == 0.75
    *_, shares = draw_activations({"a": [values, -values], "b": [values] * 2}, 2).axes
    assert [list(line.get_ydata()) for line in shares.lines] == [[75, 25], [75, 75]]
