"""One photo, layer by layer: the numbers in the browser against a run of torch.

What all explorers have in common is tested in test_explorers.py.
"""

import base64
import json
import re

import pytest
import torch
from axe_playwright_python.sync_playwright import Axe
from test_explorers import PHONE, call, frame, said
from torch.nn import functional as F
from visits import settle, visit

from course_book.explorers import ActivationsExplorer
from course_book.explorers import page as files
from course_book.explorers.activations import PHOTO
from course_book.explorers.packed import TOLERANCE
from course_lib.data.classes import CRACK_CLASSES
from course_lib.data.preprocessing import Preprocessing
from course_lib.synthetic import SyntheticCracks
from course_lib.weights import course_resnet18

PAGE = "chapters/mechanism/index.html"
DATA = files.read_data("activations")
MORE = files.read_more(DATA["file"])
STEPS = DATA["limits"]["step"]["oneOf"]
UNITS = [name for name in STEPS if "." in name]
AXE = Axe()

# Everything that the module computes: for each step, shown map and place, the parts of
# the sums, the sums, what batch normalization makes of them, the output.
EVERYTHING = """async ([source, text]) => {
    const module = await import(`data:text/javascript;base64,${source}`);
    const more = JSON.parse(text);
    const arrays = await module.unpack(more);
    const found = {};
    for (const [name, step] of Object.entries(more.steps)) {
        const maps = step.channels?.length ?? more.classes.length;
        found[name] = Array.from({ length: maps }, (_, k) => more.places.map((_, p) => {
            const t = module.trace(more, arrays, name, k, p);
            const { out, main, side, sums, shares } = t;
            return { out, sums, shares, z: main?.z, f: main?.f, parts: main?.sums,
                     shortcut: side?.f, side_z: side?.z, side_parts: side?.sums };
        }));
    }
    return JSON.stringify(found);
}"""


@pytest.fixture(scope="module")
def computed(browser):
    """What the module computes from the committed file."""
    source = base64.b64encode(files.read_text("activations.js").encode()).decode()
    tab = browser.new_page()
    try:
        return json.loads(tab.evaluate(EVERYTHING, [source, json.dumps(MORE)]))
    finally:
        tab.close()


@pytest.fixture(scope="module")
def seen():
    """What goes into each layer of the trained network and comes out, in float64."""
    model = course_resnet18().double()
    found = {}

    def keep(name):
        def hook(module, inputs, output):
            if name.endswith("relu") and name.count(".") == 2:
                return  # runs twice in a unit
            found[name] = (inputs[0][0].clone(), output[0].clone())

        return hook

    for name, module in model.named_modules():
        module.register_forward_hook(keep(name))
    image, _ = SyntheticCracks("test", size=256)[PHOTO]
    with torch.no_grad():
        logits = model(Preprocessing.for_photos(224)(image)[None].double())
    return model, found, logits[0]


def parts(layer, x, channel, i, j):
    """What each input channel adds to an output value at (i, j): [C]."""
    (K, _), (S, _), (P, _) = layer.kernel_size, layer.stride, layer.padding
    window = F.pad(x, (P,) * 4)[:, i * S : i * S + K, j * S : j * S + K]
    return (window * layer.weight[channel].detach()).sum((1, 2))


def close(ours, theirs):
    return ours == pytest.approx(theirs, abs=TOLERANCE, rel=1e-4)


def test_every_number_is_what_torch_computes(computed, seen):
    model, found, _ = seen
    compared = 0
    for name in ["conv1", *UNITS]:
        unit = model.get_submodule(name)
        layer, bn = (unit, model.bn1) if name == "conv1" else (unit.conv2, unit.bn2)
        path = name if name == "conv1" else f"{name}.conv2"
        x, z = found[path]
        f = bn(z[None])[0].detach()
        step = MORE["steps"][name]
        for k, channel in enumerate(step["channels"]):
            for p, (i, j) in enumerate(step["at"]):
                ours = computed[name][k][p]
                adds = parts(layer, x, channel, i, j)
                assert close(ours["parts"], adds.tolist())
                assert close(ours["z"], float(z[channel, i, j]))
                assert close(ours["f"], float(f[channel, i, j]))
                compared += len(adds) + 2
                if name == "conv1":
                    assert close(ours["out"], max(0, float(f[channel, i, j])))
                    continue
                x_unit, out = found[name]
                assert close(ours["out"], float(out[channel, i, j]))
                shortcut = x_unit
                if unit.downsample is not None:
                    shortcut = found[f"{name}.downsample.1"][1]
                    adds_here = parts(unit.downsample[0], x_unit, channel, i, j)
                    assert close(ours["side_parts"], adds_here.tolist())
                    compared += len(adds_here)
                assert close(ours["shortcut"], float(shortcut[channel, i, j]))
    assert compared > 40_000


def test_the_rest_of_the_way_is_torchs_too(computed, seen):
    _, found, logits = seen
    for name, layer, shape in (
        ("photo", "conv1", None),
        ("maxpool", "maxpool", 1),
        ("avgpool", "avgpool", 1),
    ):
        maps = found[layer][0 if shape is None else 1]
        step = MORE["steps"][name]
        for k, channel in enumerate(step["channels"]):
            for p, (i, j) in enumerate(step["at"]):
                assert close(computed[name][k][p]["out"], float(maps[channel, i, j]))
    average = found["fc"][0]
    shares = logits.softmax(0).tolist()
    for k, logit in enumerate(logits.tolist()):
        ours = computed["fc"][k][0]
        assert close(ours["out"], logit)
        assert close(ours["shares"], shares)
        weight = seen[0].fc.weight[k].detach()
        assert close(ours["sums"], (weight * average).tolist())


def test_softmax_is_torchs(browser):
    logits = 30 * torch.randn(2000, 6, generator=torch.Generator().manual_seed(4))
    rows = [[row] for row in logits.double().tolist()]
    found = call(browser, "activations", "softmax", rows)
    wanted = logits.double().softmax(1).tolist()
    for ours, theirs in zip(found, wanted):
        assert ours["shares"] == pytest.approx(theirs, rel=1e-9, abs=1e-300)


def test_each_value_is_checked_in_front_of_the_reader(browser, book):
    """At every step and place the sum on the page equals torch's number."""
    walk = """async (states) => {
        const box = document.querySelector(".explorer-activations");
        const found = [];
        for (const state of states) {
            const heard = new Promise(done =>
                addEventListener("hashchange", done, { once: true }));
            location.hash = `explorer=activations&${new URLSearchParams(state)}`;
            await heard;
            await new Promise(queueMicrotask);
            found.push([box.querySelector("[role=status]").textContent,
                box.querySelector(".ex-detail").textContent]);
        }
        return found;
    }"""
    states = [
        {"step": step, "map": index % 6 + 1, "place": place, "branch": branch}
        for index, (step, place, branch) in enumerate(
            (step, place, branch)
            for step in STEPS
            for place in DATA["limits"]["place"]["oneOf"]
            for branch in ("F", "shortcut")
        )
    ]
    with visit(browser, book.as_uri(), PAGE) as (page, trouble):
        frame(page, "activations")
        found = page.evaluate(walk, states)
    for state, (words, detail) in zip(states, found):
        value = ActivationsExplorer(**state).value
        torchs = re.search(r"✓ PyTorch, .*, found (−?[\d.]+) here", detail)[1]
        assert float(torchs.replace("−", "-")) == pytest.approx(value, abs=0.0051)
        numbers = re.findall(r"-?\d+\.\d\d\b", words.replace("−", "-"))
        assert min(abs(float(number) - value) for number in numbers) < 0.0101, state
    assert trouble.console == []


def test_a_value_is_opened_by_touch_and_keys(browser, book):
    context = browser.new_context(has_touch=True, viewport=PHONE)
    page = context.new_page()
    page.goto(f"{book.as_uri()}/{PAGE}")
    box = frame(page, "activations")
    box.get_by_role("button", name="layer2.0", exact=True).tap()
    assert "layer2.0, a special unit" in said(box)
    assert "Channel 74 at row 5, column 5, on the crack," in said(box)
    page.keyboard.press("ArrowRight")
    assert "layer2.1, a common unit" in said(box)
    box.get_by_role("button", name="cable").tap()
    assert "on the cable" in said(box)
    box.get_by_role("group", name="Maps").get_by_role("button").first.focus()
    page.keyboard.press("ArrowDown")
    second = MORE["steps"]["layer2.1"]["channels"][1]
    assert f"Channel {second} at row 13" in said(box)

    parts = box.get_by_role("group", name="Parts of the sum")
    first = parts.get_by_role("button").first
    opened = box.locator(".ex-open > div:last-child b").first
    assert first.get_attribute("aria-label").startswith(f"{opened.inner_text()}:")
    first.focus()
    page.keyboard.press("ArrowDown")
    focused = page.evaluate("document.activeElement.ariaLabel")
    assert focused.startswith(f"{opened.inner_text()}:")
    assert focused == parts.get_by_role("button").nth(1).get_attribute("aria-label")
    cells = box.locator(".ex-cells").nth(2).locator("span").all_inner_texts()
    products = [float(text.replace("−", "-")) for text in cells]
    total = float(focused.split(": ")[1].replace("−", "-"))
    assert sum(products) == pytest.approx(total, abs=0.05)

    box.get_by_role("button", name="x: ").tap()
    assert "The identity" in box.inner_text()
    photo = box.locator(".ex-photo")
    photo.scroll_into_view_if_needed()
    photo.tap(position={"x": 3, "y": 3})
    assert "in the corner" in said(box)
    context.close()


def test_the_answer_is_made_of_products(browser, book):
    sound, cracked = CRACK_CLASSES[4:]
    place = f"{PAGE}#explorer=activations&step=fc&answer={sound}"
    with visit(browser, book.as_uri(), place) as (page, _):
        box = frame(page, "activations")
        assert f"{sound}: logit 2.55, probability 1.2" in said(box)
        box.get_by_role("button", name=cracked, exact=True).click()
        assert f"{cracked}: logit 6.97, probability 98.5" in said(box)
        assert box.get_by_role("group", name="Place").is_hidden()
        assert box.locator("tbody tr").last.inner_text().split()[0] == "sum"


def test_its_data_wait_until_the_reader_comes(browser, http):
    def asked(trouble):
        return [url for url in trouble.sizes if url.endswith(DATA["file"])]

    with visit(browser, http, PAGE, look=False) as (page, trouble):
        assert asked(trouble) == []
        frame(page, "activations")
        assert len(asked(trouble)) == 1
    with visit(browser, http, "chapters/backprop/index.html") as (page, trouble):
        page.mouse.wheel(0, 50_000)
        settle(page)
        assert asked(trouble) == []


def test_without_its_data_the_picture_stays(browser, book):
    context = browser.new_context()
    context.route(f"**/{DATA['file']}", lambda route: route.abort())
    page = context.new_page()
    page.goto(f"{book.as_uri()}/{PAGE}")
    box = page.locator('[data-explorer="activations"]')
    box.scroll_into_view_if_needed()
    page.wait_for_timeout(300)
    assert box.locator(".explorer-still svg").is_visible()
    context.close()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing_serious_in_any_state(browser, book, theme):
    rules = {"include": [['[data-explorer="activations"]']]}
    with visit(browser, book.as_uri(), PAGE) as (page, _):
        page.evaluate(f"document.documentElement.dataset.theme = '{theme}'")
        box = frame(page, "activations")
        for label in ("photo", "conv1", "maxpool", "layer2.0", "avgpool", "fc"):
            box.get_by_role("button", name=label, exact=True).click()
            page.set_viewport_size(PHONE)
            too_wide = box.evaluate(
                """box => [...box.querySelectorAll("*")].filter(one =>
                    one.getBoundingClientRect().right > innerWidth).length"""
            )
            assert too_wide == 0, label
            page.set_viewport_size({"width": 1280, "height": 900})
            options = {"resultTypes": ["violations"], "preload": False}
            if theme == "dark":  # only the colors have changed
                options["runOnly"] = {"type": "rule", "values": ["color-contrast"]}
            found = AXE.run(page, context=rules, options=options).response
            serious = [
                (rule["id"], rule["nodes"][0]["html"][:200])
                for rule in found["violations"]
                if rule["impact"] in ("serious", "critical")
            ]
            assert serious == [], label
