"""The figures of the Code chapter draw the numbers that they are given."""

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pytest

from course_lib.figures.clinic_plots import draw_silent
from course_lib.figures.preprocessing_plots import draw_inputs, draw_lost, draw_resized


@pytest.fixture(autouse=True)
def _close():
    yield
    plt.close("all")


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


def test_lost_views_are_drawn_in_percent():
    (ax,) = draw_lost([0.08, 0.5], [0.25, 0.1]).axes
    assert ax.lines[0].get_xydata().tolist() == [[8, 25], [50, 10]]
