"""The ledger's page: its tree, its numbers and its names, for any network."""

import re
from html.parser import HTMLParser

import pytest
import torch
import torchinfo
import torchvision
from torch import nn

from course_lib.ledger import ledger
from course_lib.resnet import resnet18

VISION = "alexnet convnext_tiny densenet121 efficientnet_b0 mnasnet0_5 resnet50 swin_t"
VISION += " mobilenet_v3_small mobilenet_v2 shufflenet_v2_x0_5 squeezenet1_0 vgg11"
NETWORKS = [*VISION.split(), "vit_b_16", "transformer"]


class Reader(HTMLParser):
    """The tree of a page: for each line its depth in branches, and its texts."""

    def __init__(self, text):
        super().__init__()
        self.open, self.lines, self.branch = [], [], False
        self.feed(text)
        assert not self.open, f"never closed: {self.open}"

    def handle_starttag(self, tag, attributes):
        if tag in ("meta", "br"):
            return
        self.open.append(tag)
        kind = dict(attributes).get("class")
        if tag == "span" and kind == "line":
            depth = self.open.count("details")
            self.lines.append((depth, "summary" in self.open, {}))
        elif tag == "span" and self.lines:
            self.key = "name" if kind == "name" else None

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if not self.lines or "span" not in self.open:
            return
        if self.open[-1] == "b":
            self.key = data
        elif self.key and data.strip():
            self.lines[-1][2].setdefault(self.key, data.strip())


def written(ours, path):
    ours.to_html(path)
    text = path.read_text(encoding="utf-8")
    assert not re.findall(r"""(?:src|href|url)\s*[=(]""", text), "needs another file"
    return Reader(text).lines


def number(text):
    return int(text.replace("at least ", "").replace(",", ""))


def network(name):
    if name == "transformer":
        layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
        return nn.TransformerEncoder(layer, 3), (2, 5, 16)
    with torch.device("meta"):
        return torchvision.models.get_model(name), (1, 3, 224, 224)


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.filterwarnings("ignore:enable_nested_tensor")
def test_every_layer_is_there_and_branches_are_their_sums(name, tmp_path):
    model, shape = network(name)
    ours = ledger(model.train(), shape)
    lines = written(ours, tmp_path / "page.html")
    leaves = [texts for _, branch, texts in lines if not branch]
    assert len(leaves) == len(ours.rows)
    for texts, row in zip(leaves, ours.rows):
        assert row.name.endswith(texts["name"])
        assert number(texts["parameters"]) == row.parameters
        assert texts["MACs"] == f"{row.macs:,}"
    for place, (depth, branch, whole) in enumerate(lines):
        if not branch:
            continue
        inside = []
        for deeper, inner, texts in lines[place + 1 :]:
            if deeper < depth or (inner and deeper == depth):
                break
            if not inner:
                inside.append(texts)
        for key in ("parameters", "MACs"):
            assert number(whole[key]) == sum(number(texts[key]) for texts in inside)
    total = sum(p.numel() for p in model.parameters())
    assert number(lines[0][2]["parameters"]) == total


def test_totals_are_torchinfos(tmp_path):
    model = resnet18(num_classes=10).eval()
    lines = written(ledger(model, (2, 3, 64, 64)), tmp_path / "page.html")
    theirs = torchinfo.summary(model, (2, 3, 64, 64), verbose=0, device="cpu")
    # torchinfo adds, per image, each bias and each γ and β.
    added = sum(p.numel() for p in model.parameters() if p.ndim == 1)
    assert number(lines[0][2]["parameters"]) == theirs.total_params
    assert number(lines[0][2]["MACs"]) == theirs.total_mult_adds - 2 * added


def test_windows_and_what_their_floor_drops(tmp_path):
    lines = written(ledger(resnet18(), (1, 3, 230, 225)), tmp_path / "page.html")
    shown = {}
    for depth, _, texts in lines:
        if "K, S, P" in texts:
            settings = texts["K, S, P"], texts.get("floor drops")
            shown.setdefault((depth, texts["name"], texts["output"]), settings)
    # 230 + 6 - 7 = 229 leaves 1 row over, of padding; 225 + 6 - 7 = 224 none.
    assert shown[1, "conv1", "1×64×115×113"] == ("7, 2, 3", "1 padded×0")
    assert shown[1, "maxpool", "1×64×58×57"] == ("3, 2, 1", None)
    assert shown[4, "0", "1×128×29×29"] == ("1, 2, 0", "1 real×0")
    layers = nn.Sequential(nn.Conv2d(3, 3, (2, 5), 3), nn.MaxPool2d(2, ceil_mode=True))
    lines = written(ledger(layers, (1, 3, 12, 14)), tmp_path / "page.html")
    assert lines[1][2]["K, S, P"] == "2×5, 3, 0"
    assert lines[1][2]["floor drops"] == "1 real×0"
    assert "floor drops" not in lines[2][2]
    lines = written(ledger(nn.Conv1d(3, 4, 3, 4), (1, 3, 9)), tmp_path / "page.html")
    assert (lines[1][2]["K, S, P"], lines[1][2]["floor drops"]) == ("3, 4, 0", "2 real")


def test_names_are_escaped(tmp_path):
    bad = type("<script>alert(1)</script>", (nn.Sequential,), {})()
    bad.add_module("<b>&amp;", nn.Linear(3, 4))
    inner = nn.Sequential()
    inner.add_module("x<i>", nn.Linear(4, 4))
    bad.add_module("</details>", inner)
    ledger(bad, (2, 3)).to_html(tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert text.count("<script>") == 1 and "alert(1)&lt;/script&gt;" in text
    names = [texts["name"] for _, _, texts in Reader(text).lines]
    assert names[1:] == ["<b>&amp;", "</details>", "x<i>"]
