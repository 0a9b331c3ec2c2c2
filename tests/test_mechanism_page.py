"""What the Mechanism page lets a reader recompute comes out right from its numbers."""

import json
import math
from pathlib import Path

import pytest

NOTEBOOK = (
    Path(__file__).parent.parent / "chapters" / "mechanism" / "forward_pass.ipynb"
)


@pytest.fixture(scope="module")
def shown():
    """Name → text of every number that the page takes from the notebook."""
    book = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    outputs = [o for cell in book["cells"] for o in cell.get("outputs", [])]
    stored = {}
    for output in outputs:
        if name := output.get("metadata", {}).get("scrapbook", {}).get("name"):
            text = "".join(output["data"]["application/papermill.record/text/plain"])
            stored[name] = text.strip("'")
    return stored


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
