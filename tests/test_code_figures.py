"""The figures of the Code chapter draw the numbers that they are given."""

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import pytest

from course_lib.figures.clinic_plots import draw_silent


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
