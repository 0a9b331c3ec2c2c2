"""What the Mechanism page lets a reader recompute comes out right from its numbers."""

import json
import math
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from course_lib.dimensions import unread
from course_lib.resnet import resnet18

CHAPTER = Path(__file__).parent.parent / "chapters" / "mechanism"


def glued(notebook):
    """Name → text of every number that the page takes from the notebook."""
    book = json.loads((CHAPTER / notebook).read_text(encoding="utf-8"))
    outputs = [o for cell in book["cells"] for o in cell.get("outputs", [])]
    stored = {}
    for output in outputs:
        if name := output.get("metadata", {}).get("scrapbook", {}).get("name"):
            text = "".join(output["data"]["application/papermill.record/text/plain"])
            stored[name] = text.strip("'")
    return stored


@pytest.fixture(scope="module")
def shown():
    return glued("forward_pass.ipynb")


def number(text):
    return float(text.replace("−", "-").replace(",", ""))


def test_a_row_of_the_first_layer(shown):
    row = shown["stem_first_row"].replace("·", "*").replace("−", "-")
    assert row.count("*") == 7 and set(row) <= set("0123456789*+- ()")
    assert eval(row) == number(shown["stem_row_sum"])


def test_the_output_of_the_first_layer(shown):
    value = number(shown["stem_total"]) * 0.01 * number(shown["stem_scale"])
    assert value == pytest.approx(number(shown["stem_value"]), abs=0.005)


def test_batch_normalization_by_pocket_calculator(shown):
    mean, variance, gamma, beta = (
        number(shown[f"stem_{name}"]) for name in ("mean", "variance", "gamma", "beta")
    )
    z = number(shown["stem_value"])
    deviation = number(shown["stem_deviation"])
    assert math.sqrt(variance) == pytest.approx(deviation, abs=0.0003)
    y = gamma * (z - mean) / deviation + beta
    assert y == pytest.approx(number(shown["stem_bn"]), abs=0.01)


def test_the_addition_and_the_error_term(shown):
    added = number(shown["x"]) + number(shown["f"])
    assert added == pytest.approx(number(shown["sum"]), abs=0.011)
    p = float(shown["p"].removesuffix(" %")) / 100
    assert number(shown["delta"]) == pytest.approx(p - 1, abs=0.0006)


def test_softmax_twice_at_the_logits_that_the_page_names():
    def norm(logits, twice):
        z = torch.tensor([logits], dtype=torch.float64, requires_grad=True)
        F.cross_entropy(z.softmax(1) if twice else z, torch.tensor([0])).backward()
        return z.grad.norm()

    shown = glued("pooling_and_head.ipynb")
    for name, logits in (("wrong", [-5, 5, 0, 0, 0, 0]), ("start", [0.0] * 6)):
        ratio = norm(logits, False) / norm(logits, True)
        assert f"{ratio:.0f}" == shown[f"ratio_{name}"]


def test_what_the_page_says_about_the_row_left_over():
    left = unread(50, 5, 3, 1)
    assert (left.padding, left.edge) == (1, 1)
    kinds = nn.Conv2d | nn.MaxPool2d
    layers = [m for m in resnet18().modules() if isinstance(m, kinds)]
    pairs = [(m.kernel_size, m.padding) for m in layers]
    pairs = [(k, p) if isinstance(k, int) else (k[0], p[0]) for k, p in pairs]
    assert len(pairs) == 21 and all(k == 2 * p + 1 for k, p in pairs)
