import json

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics

from course_lib.data.classes import CRACK_CLASSES
from course_lib.metrics import calibration_error, report


@st.composite
def answers(draw):
    """Logits and labels; often with classes that never occur or are never guessed."""
    classes = draw(st.integers(1, 7))
    count = draw(st.integers(1, 60))
    seed = draw(st.integers(0, 2**32 - 1))
    rng = np.random.default_rng(seed)
    occurring = rng.permutation(classes)[: draw(st.integers(1, classes))]
    logits = rng.normal(size=(count, classes)) * draw(st.sampled_from([0.1, 1, 4]))
    return logits, rng.choice(occurring, count)


def names(count):
    return [f"class {k}" for k in range(count)]


@pytest.mark.filterwarnings("ignore:A single label was found")
@given(answers())
def test_every_number_equals_scikit_learns(case):
    logits, labels = case
    classes = list(range(logits.shape[1]))
    seen = report(logits, labels, names(len(classes)))
    guesses = logits.argmax(1)
    precision, recall, f1, support = metrics.precision_recall_fscore_support(
        labels, guesses, labels=classes, zero_division=0
    )
    np.testing.assert_allclose(seen.precision, precision)
    np.testing.assert_allclose(seen.recall, recall)
    np.testing.assert_allclose(seen.f1, f1)
    np.testing.assert_array_equal(seen.support, support)
    assert seen.macro_f1 == pytest.approx(f1.mean())
    assert seen.accuracy == pytest.approx(metrics.accuracy_score(labels, guesses))
    expected = metrics.confusion_matrix(labels, guesses, labels=classes)
    np.testing.assert_array_equal(seen.confusion, expected)
    assert seen.confusion.dtype == np.int64
    assert seen.n == len(labels) == seen.confusion.sum()
    if len(classes) > 1:
        e = np.exp(logits - logits.max(1, keepdims=True))
        p = e / e.sum(1, keepdims=True)
        assert seen.loss == pytest.approx(
            metrics.log_loss(labels, p, labels=classes), abs=1e-9
        )


def ece_by_hand(probabilities, labels, bins):
    """The definition, one bin after the other, with the bin's edges compared."""
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == labels
    total = 0.0
    for m in range(bins):
        inside = (confidence > m / bins) & (confidence <= (m + 1) / bins)
        if inside.any():
            gap = abs(right[inside].mean() - confidence[inside].mean())
            total += inside.mean() * gap
    return total


@given(answers())
def test_calibration_error_equals_its_definition(case):
    logits, labels = case
    p = torch.tensor(logits).softmax(1).numpy()
    expected = ece_by_hand(p, labels, 15)
    seen = report(logits, labels, names(logits.shape[1]))
    assert seen.calibration_error == pytest.approx(expected, abs=1e-12)
    other = calibration_error(p, labels, bins=4)
    assert other == pytest.approx(ece_by_hand(p, labels, 4), abs=1e-12)


def test_calibration_error_of_known_cases():
    sure = np.array([[1.0, 0.0]] * 4)
    assert calibration_error(sure, np.zeros(4)) == 0
    assert calibration_error(sure, np.ones(4)) == 1
    # 0.75 sure and right three times out of four: perfectly calibrated.
    honest = np.array([[0.75, 0.25]] * 4)
    assert calibration_error(honest, np.array([0, 0, 0, 1])) == pytest.approx(0)
    # Two bins with errors of opposite sign must not cancel.
    p = np.array([[0.9, 0.1], [0.6, 0.4]])
    assert calibration_error(p, np.array([1, 0])) == pytest.approx(0.65)


def test_devices_and_types():
    logits = torch.randn(9, 6, dtype=torch.bfloat16, requires_grad=True)
    labels = torch.arange(9, dtype=torch.int32) % 6
    seen = report(logits, labels, CRACK_CLASSES)
    assert seen.classes == CRACK_CLASSES
    again = report(logits.detach().float().numpy(), labels.tolist(), CRACK_CLASSES)
    np.testing.assert_array_equal(again.confusion, seen.confusion)


def test_the_guess_is_the_largest_logit_even_if_probabilities_tie():
    # Both probabilities round to 0.5; the second logit is the larger one.
    logits = np.array([[0.0, 1e-17]])
    assert logits[0, 1] > logits[0, 0]
    assert report(logits, [1], "ab").accuracy == 1


def test_as_dict_goes_through_json():
    seen = report(torch.eye(3), [0, 1, 1], ["a", "b", "c"])
    kept = json.loads(json.dumps(seen.as_dict()))
    assert kept["classes"] == ["a", "b", "c"]
    assert kept["confusion"] == [[1, 0, 0], [0, 1, 1], [0, 0, 0]]
    assert kept["n"] == 3
    assert set(kept) == set(seen.__dataclass_fields__)


def test_the_table():
    logits = torch.eye(6)[[0, 1, 2, 3, 5, 5]] * 9
    lines = report(logits, range(6), CRACK_CLASSES).table().splitlines()
    assert len(lines) == 9
    assert len({len(line) for line in lines[:8]}) == 1
    assert lines[2].split() == ["cracked", "deck", "1.000", "1.000", "1.000", "1"]
    assert lines[5].split() == ["uncracked", "wall", "0.000", "0.000", "0.000", "1"]
    assert lines[6].split() == ["cracked", "wall", "0.500", "1.000", "0.667", "1"]
    assert "accuracy 0.833" in lines[8]


@pytest.mark.parametrize(
    ("logits", "labels", "classes", "message"),
    [
        (np.zeros(3), [0, 0, 0], "abc", r"logits must have shape \[N, K\]"),
        (np.zeros((0, 3)), [], "abc", "at least 1"),
        (np.zeros((2, 3)), [0], "abc", "labels must be 2 integers"),
        (np.zeros((2, 3)), [0.0, 1.0], "abc", "of torch.float"),
        (np.zeros((2, 3)), [0, 3], "abc", r"from 0 to 2, .*\[0, 3\]"),
        (np.zeros((2, 3)), [-1, 0], "abc", r"\[-1,  0\]"),
        (np.zeros((2, 3)), [0, 1], "ab", "3 names"),
        (np.array([[0, np.nan]]), [0], "ab", "NaN or infinite"),
    ],
)
def test_bad_input_is_named(logits, labels, classes, message):
    with pytest.raises((ValueError, FloatingPointError), match=message):
        report(logits, labels, classes)
