"""The committed map is the network's: a change of either shows here."""

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
import torch
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from course_book.figures.mechanism.network_map import LINKS, network_map
from course_lib.resnet import plain18, resnet18, resnet34, resnet50

ROOT = Path(__file__).parent.parent
SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def net():
    with torch.device("meta"):
        return resnet18()


def texts(drawing: str) -> list[str]:
    return [item.text for item in ElementTree.fromstring(drawing).iter(f"{SVG}text")]


def test_the_committed_file_is_drawn_from_the_network(net):
    committed = (ROOT / "_static" / "network_map.svg").read_bytes()
    again = (
        "python -m course_book.figures.mechanism.network_map > _static/network_map.svg"
    )
    assert network_map(net).encode() == committed, f"draw it again: {again}"


def test_the_map_shows_the_shapes_of_the_paper(net):
    drawn = texts(network_map(net))
    sizes = [text for text in drawn if re.fullmatch(r"\d+ × \d+", text)]
    channels = [text for text in drawn if text.endswith(" channels")]
    assert sizes == [f"{n} × {n}" for n in (224, 112, 56, 28, 14, 7, 1)]
    assert channels == [f"{c} channels" for c in (3, 64, 64, 128, 256, 512, 512)]
    assert "".join(text for text in drawn if text in "CS") == "CCSCSCSC"


@settings(max_examples=10, deadline=None)
@given(size=st.integers(33, 300))
def test_sizes_come_from_a_forward_pass(net, size):
    drawn = texts(network_map(net, size))
    # Seen from outside: torch computes the maps of a tensor of that size.
    x = torch.empty(1, 3, size, size, device="meta")
    x = net.maxpool(net.conv1(x))
    for stage in (net.layer1, net.layer2, net.layer3, net.layer4):
        x = stage(x)
        assert f"{x.shape[2]} × {x.shape[3]}" in drawn


@pytest.mark.parametrize(("build", "units"), [(resnet34, 16), (resnet50, 16)])
def test_the_family_is_drawn_by_the_same_rule(build, units):
    with torch.device("meta"):
        drawing = network_map(build())
    root = ElementTree.fromstring(drawing)
    assert len(list(root.iter(f"{SVG}circle"))) == 2 * units  # addition and letter
    assert root.find(f"{SVG}title").text == f"The map of ResNet-{build.__name__[6:]}"


def test_strides_and_kernels_are_the_modules_own():
    with torch.device("meta"):
        changed = resnet18()
        changed.conv1 = torch.nn.Conv2d(3, 64, 5, stride=3, padding=2, bias=False)
    drawn = texts(network_map(changed))
    assert "5×5, S 3" in drawn and "7×7, S 2" not in drawn


def test_drawing_leaves_the_network_as_it_was():
    model = resnet18().train()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    network_map(model)
    assert model.training
    assert all(
        torch.equal(value, before[key]) for key, value in model.state_dict().items()
    )
    assert not any(module._forward_hooks for module in model.modules())


def test_links_lead_to_pages_of_the_book(net):
    contents = (ROOT / "_toc.yml").read_text(encoding="utf-8")
    assert yaml.safe_load(contents)["root"] == "index"
    drawn = set(re.findall(r'href="page:([^"#]+)', network_map(net)))
    assert drawn == set(LINKS.values())
    for target in drawn:
        assert f"file: {target}\n" in contents


def test_without_links_there_are_none(net):
    assert "<a" not in network_map(net, links={})


def test_it_has_a_title_and_a_description(net):
    root = ElementTree.fromstring(network_map(net))
    named = {root.find(f"{SVG}{tag}").get("id") for tag in ("title", "desc")}
    assert set(root.get("aria-labelledby").split()) == named


def test_errors_name_the_argument(net):
    with pytest.raises(ValueError, match=r"links names \['roof'\]"):
        network_map(net, links={"roof": "index"})
    with pytest.raises(ValueError, match="model is a plain net"):
        network_map(plain18())
