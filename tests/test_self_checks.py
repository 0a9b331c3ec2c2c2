"""The self-checks of the chapter pages: their form, and every number in them."""

import re
from math import floor
from pathlib import Path

import pytest
import torch
from torch import nn

from course_lib.dimensions import output_size, unread
from course_lib.ledger import ledger
from course_lib.resnet import resnet

CHAPTERS = Path(__file__).parent.parent / "chapters"
NAMES = ["structure", "mechanism", "code", "backprop"]
ANSWER = re.compile(r"^   - (.+)$\n\n     (\w+)", flags=re.MULTILINE)


def self_check(name: str) -> str:
    page = (CHAPTERS / name / "index.md").read_text(encoding="utf-8")
    (found,) = re.findall(r"```\{self-check\}\n(.*?)\n```", page, flags=re.DOTALL)
    return found


@pytest.mark.parametrize("name", NAMES)
def test_five_questions_whose_answers_say_right_or_no(name):
    right, text = self_check(name).split("\n", 1)
    letters = right.removeprefix(":right: ").split()
    questions = re.split(r"^\d\. ", text, flags=re.MULTILINE)[1:]
    assert len(questions) == len(letters) == 5
    assert len(set(letters)) > 1
    for question, letter in zip(questions, letters):
        verdicts = [word for _, word in ANSWER.findall(question)]
        assert len(verdicts) == len(re.findall(r"^   - ", question, re.MULTILINE)) == 3
        expected = ["No"] * 3
        expected["abc".index(letter)] = "Right"
        assert verdicts == expected, question


def group(number: int) -> str:
    return f"{number:,}"


def test_the_numbers_of_structure():
    text = self_check("structure")
    fifty = resnet(50)
    units = (3, 4, 6, 3)
    assert [len(getattr(fifty, f"layer{i}")) for i in (1, 2, 3, 4)] == list(units)
    assert f"{sum(units)} of them, 3 + 4 + 6 + 3" in text
    assert 1 + 3 * sum(units) + 1 == 50 and "1 in the stem, 3 · 16 in" in text
    weighty = [m for m in fifty.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    assert f"four projections there are {len(weighty)}" in text
    bn = nn.BatchNorm2d(1)
    nn.init.constant_(bn.weight, 2)
    nn.init.constant_(bn.bias, 1)
    out = bn(torch.randn(8, 1, 9, 9) * 5 + 3)
    assert out.mean().item() == pytest.approx(1, abs=1e-5)
    assert 1.999 < out.std(correction=0).item() < 2
    eighteen = resnet(18)
    projected = [
        name for name, m in eighteen.named_modules() if name.endswith("downsample.0")
    ]
    assert projected == [f"layer{i}.0.downsample.0" for i in (2, 3, 4)]
    assert all(f"`layer{i}`" in text for i in (2, 3, 4))


def test_the_numbers_of_mechanism():
    text = self_check("mechanism")
    with torch.device("meta"):
        network = resnet(18)
    network.to_empty(device="cpu")
    rows = {row.name: row for row in ledger(network, (1, 3, 256, 256)).rows}
    last = [row for name, row in rows.items() if name.startswith("layer4")][-1]
    assert tuple(last.output_shape[2:]) == (8, 8) and "- 8 × 8, and the net" in text
    # The projection, and the convolution beside it.
    out = output_size(56, 1, 2, 0, 1)
    assert f"{out**2} of {group(56**2)}, one in four" in text and out * 2 == 56
    assert f"{group(56**2 // 2)} of" in text
    seen = {2 * i + k - 1 for i in range(28) for k in range(3)}
    assert set(range(56)) <= seen and unread(56, 3, 2, 1, 1).read == 56
    assert output_size(112, 2, 2, 1, 1, kind="pool") == 57
    assert floor((112 + 2 - 2) / 2) + 1 == 57
    assert output_size(112, 3, 2, 1, 1, kind="pool") == 56
    # Weights, and memory in training.
    parameters, kept = {}, {}
    for row in ledger(network, (1, 3, 224, 224)).rows:
        part = row.name.split(".")[0]
        part = part if part[:5] == "layer" or part == "fc" else "rest"
        parameters[part] = parameters.get(part, 0) + row.parameters
        kept[part] = kept.get(part, 0) + row.kept_bytes
    assert max(parameters, key=parameters.get) == "layer4"
    assert max(kept, key=kept.get) == "rest"  # stem, average pooling, flatten
    assert (
        f"{group(parameters['fc'])} weights of {group(sum(parameters.values()))}"
        in (text)
    )
    assert kept["fc"] == 4 * 512
    # A softmax of a softmax.
    twice = torch.tensor([1.0, 0, 0, 0, 0, 0]).softmax(0)
    assert f"becomes {twice[0]:.2f} and five times {twice[1]:.2f}" in text


def test_the_numbers_of_code():
    text = self_check("code")
    assert 0.5 < 4 * 256 / 2000 < 0.52 and "4 · 256 / 2000 is about half a" in text
    scores = [f"{right / 360:.1%}" for right in (358, 357)]
    assert [score.replace("%", " %") for score in scores] == ["99.4 %", "99.2 %"]
    assert "99.4 % of 360" in text and "without skips 99.2 %" in text
    assert f"{100 / 360:.2f} points" in text


def test_the_numbers_of_backprop():
    text = self_check("backprop")
    side = output_size(224, 7, 2, 3, 1)
    assert f"{group(side**2)}." in text and f"{side} × {side} outputs" in text
    bn = nn.BatchNorm1d(1).double()
    values = torch.randn(4, 1, dtype=torch.float64, requires_grad=True)
    bn(values).backward(torch.ones(4, 1, dtype=torch.float64))
    assert values.grad.abs().max() < 1e-12
    bn.eval()(values).backward(torch.ones(4, 1, dtype=torch.float64))
    assert values.grad.abs().min() > 0.1
    w = torch.tensor([2.0, -0.5])
    assert 1 + w.prod() == 0
