"""One photo, layer by layer: what Python stores of it, and the widget.

What the reader's browser makes of it stands in tests/site/test_activations.py.
"""

import copy
import gzip

import numpy as np
import pytest
import torch

from course_book.explorers import ActivationsExplorer
from course_book.explorers.activations import FILE, PHOTO, PLACES, follow
from course_book.explorers.packed import TOLERANCE, differences, unpack
from course_book.explorers.page import HERE, read_data, read_more
from course_lib.data.preprocessing import Preprocessing
from course_lib.synthetic import SyntheticCracks
from course_lib.weights import course_resnet18

STEPS = read_data("activations")["limits"]["step"]["oneOf"]


@pytest.fixture(scope="module")
def again():
    return follow()


@pytest.fixture
def other(again):
    return copy.deepcopy(again)


@pytest.fixture(scope="module")
def seen():
    """What enters the network and what leaves its steps, for the explorer's photo."""
    model, found = course_resnet18(), {}
    for name in STEPS:
        if name in ("photo", "conv1"):
            continue
        model.get_submodule(name).register_forward_hook(
            lambda module, inputs, output, name=name: found.update({name: output[0]})
        )
    image, _ = SyntheticCracks("test", size=256)[PHOTO]
    found["photo"] = Preprocessing.for_photos(224)(image)
    with torch.no_grad():
        model(found["photo"][None])
        stem = model.bn1(model.conv1(found["photo"][None]))
    return found | {"conv1": torch.relu(stem[0])}


def test_the_file_is_what_the_network_makes_of_the_photo(again):
    assert differences(read_more(FILE), again) == [], "python -m course_book.explorers"


@pytest.mark.parametrize(
    ("change", "where"),
    [
        (lambda m: m["steps"]["conv1"]["channels"].reverse(), "/steps/conv1/channels"),
        (lambda m: m["steps"]["fc"]["truth"].pop("out"), "/steps/fc/truth"),
        (lambda m: m["places"].pop(), "/places"),
        (lambda m: m.update(photo=m["thumbnail"]), "/photo"),
        (lambda m: m.update(label=5.1), "/label"),
        (lambda m: m.update(eps=m["eps"] + 2 * TOLERANCE), "/eps"),
        (lambda m: m["index"].pop(), "/index"),
    ],
)
def test_a_difference_is_found(again, other, change, where):
    change(other)
    assert any(path.startswith(where) for path in differences(again, other))


def test_a_packed_number_may_differ_by_one_and_not_by_two(again, other, monkeypatch):
    import course_book.explorers.packed as packed

    right = unpack(again)

    def shifted(by):
        arrays = {name: values.astype(int) for name, values in right.items()}
        arrays["layer3.1/patch"][1, 2, 0, 0] += by
        return arrays

    for by, wanted in ((1, []), (2, ["/layer3.1/patch"])):
        answers = iter((right, shifted(by)))
        monkeypatch.setattr(packed, "unpack", lambda _, answers=answers: next(answers))
        assert differences(again, other) == wanted


def test_its_size_is_bearable():
    raw = (HERE / FILE).read_bytes()
    assert len(raw) < 360_000
    assert len(gzip.compress(raw)) < 275_000


def test_the_packed_numbers_add_up_to_the_truth():
    """Windows times kernels, through BN, give what PyTorch found, to TOLERANCE."""
    more = read_more(FILE)
    arrays = {name: unpack(more)[name] * scale for name, _, _, scale in more["index"]}
    worst = 0.0
    for name, step in more["steps"].items():
        if step["kind"] not in ("conv", "unit"):
            continue
        truth = {key: np.array(value) for key, value in step["truth"].items()}
        ways = [("", "scales", "bn", "z", "f")]
        if "side_bn" in step:
            ways.append(("side_", "side_scales", "side_bn", "side_z", "shortcut"))
        for way, scales, four, z, f in ways:
            kernel = arrays[f"{name}/{way}kernel"]
            kernel = kernel * np.array(step[scales]).reshape(-1, 1, 1, 1)
            sums = np.einsum("pcuv,kcuv->kp", arrays[f"{name}/{way}patch"], kernel)
            gamma, beta, mean, variance = np.array(step[four]).T[..., None]
            normal = gamma * (sums - mean) / np.sqrt(variance + more["eps"]) + beta
            worst = max(worst, abs(sums - truth[z]).max(), abs(normal - truth[f]).max())
        out = truth["f"] + truth.get("shortcut", 0)
        assert out.clip(0) == pytest.approx(truth["out"], abs=2e-4)
    assert 0 < worst < TOLERANCE


def test_the_places_are_what_they_are_called():
    more = read_more(FILE)
    gray = dict(zip(PLACES, np.mean(more["steps"]["photo"]["pixels"], axis=1)))
    assert gray["crack"] < 60 and gray["cable"] > gray["wall"] + 30
    cells = {(row // 32, column // 32) for row, column in PLACES.values()}
    assert len(cells) == len(PLACES)  # apart even in maps of 7 × 7


def test_the_channels_shown_are_those_that_vary_the_most(seen):
    for name, step in read_more(FILE)["steps"].items():
        if step["kind"] not in ("conv", "unit"):
            continue
        spread = seen[name].flatten(1).var(1)
        assert step["channels"] == spread.topk(6).indices.tolist()


@pytest.mark.parametrize("step", STEPS)
def test_python_reads_the_value_that_the_network_computes(seen, step):
    for place in PLACES:
        for number in range(1, 7):
            widget = ActivationsExplorer(step=step, place=place, map=number)
            row, column = widget.position
            out = seen[step][widget.channel]
            wanted = out if out.ndim == 0 else out[row, column]
            assert widget.value == pytest.approx(float(wanted), abs=TOLERANCE)


def test_the_widget_brings_its_data_and_a_page_does_not():
    widget = ActivationsExplorer(step="layer2.0")
    assert widget._data["more"]["steps"]["layer2.0"]["shape"] == [128, 28, 28]
    html = widget._repr_mimebundle_()[0]["text/html"]
    assert len(html) < 70_000 and '"blob"' not in html
