"""The explorers seen from Python: their files, their values, their HTML.

What they do in a browser stands in tests/site/test_explorers.py.
"""

import json
import math
import re
import subprocess
import sys
from html.parser import HTMLParser
from statistics import median

import pytest
import traitlets

import course_book.explorers as explorers
from course_book.explorers import page
from course_book.explorers.__main__ import contents
from course_book.results import load

CLASSES = {getattr(explorers, name).name: name for name in explorers.__all__}
every = pytest.mark.parametrize("name", page.names())


def make(name, **values):
    return getattr(explorers, CLASSES[name])(**values)


def test_importing_brings_neither_widgets_nor_torch():
    code = (
        "import sys, course_lib, course_book.explorers, course_book.explorers.page\n"
        "sys.exit(bool({'anywidget', 'ipywidgets', 'torch'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_without_anywidget_the_error_says_what_to_do(monkeypatch):
    monkeypatch.setitem(sys.modules, "anywidget", None)
    with pytest.raises(ImportError, match="pip install anywidget"):
        explorers.ConvolutionExplorer  # noqa: B018


def test_an_unknown_class_is_named():
    with pytest.raises(AttributeError, match="has no 'Convolution'"):
        explorers.Convolution  # noqa: B018


def test_every_explorer_has_a_class():
    assert sorted(CLASSES) == page.names()


def test_the_files_are_what_python_writes():
    stale = [
        path.name
        for path, text in contents().items()
        if path.read_text(encoding="utf-8") != text
    ]
    assert stale == [], "run python -m course_book.explorers"


def test_common_js_is_joined_once_and_a_module_without_its_mark_is_refused(monkeypatch):
    common = page.read_text("common.js")
    for name in page.names():
        assert page.module(name).count(common) == 1
        assert common not in page.read_text(f"{name}.js")
        assert getattr(explorers, CLASSES[name])._esm == page.module(name)
    monkeypatch.setattr(page, "read_text", lambda name: "export default {}")
    with pytest.raises(ValueError, match=r"needs one line '// common\.js'"):
        page.module("convolution")


@every
def test_a_module_is_one_small_self_contained_file(name):
    text = page.module(name)
    assert len(text.encode()) < 30_000
    assert len(page.style(name).encode()) < 12_000
    assert not re.search(
        r"^\s*import\b|\bimport\(|\bfetch\(|https?://(?!www\.w3)", text, re.M
    )
    assert "export default { render };" in text
    assert "</script" not in text.lower()


@every
def test_the_table_says_how_it_starts_and_how_far_it_goes(name):
    data = page.read_data(name)
    for key, limits in data["limits"].items():
        start = data["state"][key]
        if isinstance(limits, dict):
            assert start in limits["oneOf"]
        else:
            starts = start if isinstance(start, list) else [start]
            assert all(limits[0] <= value <= limits[1] for value in starts)
    bare = {k for k, v in data["state"].items() if not isinstance(v, bool)}
    assert bare == set(data["limits"])


@every
def test_values_are_typed_and_checked(name):
    widget = make(name)
    data = page.read_data(name)
    assert widget.state == data["state"]
    assert set(data["state"]) <= set(widget.keys)  # the kernel and the page share it
    for key, limits in data["limits"].items():
        for wrong in (None, "no such value", [None]):
            with pytest.raises(traitlets.TraitError):
                setattr(widget, key, wrong)
        if isinstance(limits, list):
            for wrong in (limits[0] - 1, limits[1] + 1):
                many = isinstance(data["state"][key], list)
                with pytest.raises(traitlets.TraitError):
                    setattr(widget, key, [wrong] if many else wrong)
    assert widget.state == data["state"]
    with pytest.raises(ValueError, match="has no colour"):
        make(name, colour="red")


@every
def test_python_hears_of_a_change(name):
    widget, heard = make(name), []
    data = page.read_data(name)
    key, limits = next(
        (key, limits)
        for key, limits in data["limits"].items()
        if not isinstance(data["state"][key], list)
    )
    values = limits["oneOf"] if isinstance(limits, dict) else limits
    other = next(value for value in values if value != getattr(widget, key))
    widget.observe(lambda change: heard.append(change.new), names=key)
    setattr(widget, key, other)
    assert heard == [other]


@every
def test_what_a_notebook_stores_is_the_same_in_every_run(name):
    first, second = (make(name)._repr_mimebundle_()[0] for _ in range(2))
    for kind in ("text/plain", "text/html"):
        assert first[kind] == second[kind]
    assert first["text/plain"] == f"{CLASSES[name]}()"
    assert not re.search(r"0x[0-9a-f]{6}", first["text/html"])
    assert "application/vnd.jupyter.widget-view+json" in first


class Elements(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.open, self.ids, self.texts = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        if tag not in ("rect", "circle", "path", "line", "img", "image", "br"):
            self.open.append(tag)
        self.ids += [value for key, value in attributes if key == "id"]

    def handle_startendtag(self, tag, attributes):
        pass

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] in ("p", "text"):
            self.texts.append(data)


@every
def test_without_javascript_a_picture_and_words_remain(name):
    still = Elements(page.read_text(f"{name}.html"))
    assert still.open == [] and still.ids == []
    assert len(" ".join(still.texts)) > 100
    assert 'role="img"' in page.read_text(f"{name}.html")


def test_the_html_carries_the_state():
    html = make("convolution", size=112)._repr_mimebundle_()[0]["text/html"]
    stored = re.search(r'<script type="application/json">(.*?)</script>', html)[1]
    assert json.loads(stored)["state"]["size"] == 112
    assert html == page.embed("convolution", {"size": 112})


def test_a_page_that_asks_for_what_is_not_there_is_refused():
    with pytest.raises(ValueError, match="no explorer 'transformer'"):
        page.embed("transformer")
    with pytest.raises(ValueError, match="has no colour"):
        page.embed("convolution", {"colour": 1})


def test_python_computes_the_size_that_the_reader_sees():
    widget = make("convolution", size=112, kernel=2, kind="pool")
    assert widget.output == 57
    widget.kernel = 3
    assert widget.output == 56
    assert repr(widget) == "ConvolutionExplorer(size=112, kind='pool')"
    widget.padding = 8
    with pytest.raises(ValueError, match="padding must be at most half the kernel"):
        widget.output  # noqa: B018


def without_label(preset):
    return {key: value for key, value in preset.items() if key != "label"}


def test_the_examples_are_resnet18s_strided_layers_and_e1():
    from torch import nn

    from course_lib.resnet import resnet18

    presets = page.read_data("convolution")["presets"]
    windows = (nn.Conv2d, nn.MaxPool2d)
    strided = [
        name
        for name, layer in resnet18().named_modules()
        if isinstance(layer, windows) and layer.stride in (2, (2, 2))
    ]
    assert {p["label"].split(":")[0] for p in presets[1:9]} == set(strided)
    assert len(strided) == 8
    sizes = [make("convolution", **without_label(p)).output for p in presets[1:10]]
    assert sizes == [112, 56, 28, 28, 14, 14, 7, 7, 57]


def test_python_has_the_table_behind_the_map():
    widget = make("network", depth=50, stem="small", size=64, batch=2)
    book = widget.ledger
    assert book.input_shape == (2, 3, 64, 64)
    assert book.parameters == 25_557_032 - 64 * 3 * (49 - 9)


@pytest.mark.parametrize(
    "row",
    [r for r in load("gradient_flow") if r["units"] == 4 and r["scale"] in (0.5, 2)],
    ids=lambda row: "-".join(str(value) for value in list(row.values())[:5]),
)
def test_the_stored_gradients_are_measured_again(row):
    from course_book.experiments import gradient_flow as flow

    settings = (row["block"], row["units"], row["scale"], row["activation"])
    runs = [flow.profile(*settings, bool(row["norm"]), seed) for seed in flow.SEEDS]
    again = [median(values) for values in zip(*runs)]
    stored = [float(power) for power in row["powers"].split()]
    assert stored == pytest.approx(again, abs=0.02)


def test_a_chain_is_a_product():
    from course_book.experiments.gradient_flow import chain

    found = chain([[0.5, 0.2, -1.0, 0.1]], units=2, scale=1.0, slope=1.0)
    wanted = {"plain": [0.01, 0.1, 1], "residual": [1.1 * 0.9, 0.9, 1]}
    for kind, factors in wanted.items():
        assert found[kind] == pytest.approx([math.log10(f) for f in factors])
