"""The explorers in a real browser: from the disk and over HTTP, without a network.

The numbers that their modules compute are held against course_lib on drawn cases.
"""

import base64
import itertools
import json
import random
import re
from dataclasses import dataclass

import pytest
import torch
from torch.nn import functional as F
from visits import pages, settle, visit

from course_book.experiments.gradient_flow import chain
from course_book.explorers import page as files
from course_lib.dimensions import Layer, output_size, unread
from course_lib.dimensions.text import arithmetic
from course_lib.ledger import fits, ledger
from course_lib.resnet import LAYERS, resnet

PHONE = {"width": 390, "height": 844}
EXPLORERS = files.names()
every = pytest.mark.parametrize("name", EXPLORERS)

# One call of a module's function per row of arguments; null where it throws. Text in,
# text out: Playwright takes long over large objects.
CALL = """async ([source, name, rows]) => {
    const module = await import(`data:text/javascript;base64,${source}`);
    return JSON.stringify(JSON.parse(rows).map(row => {
        try { return module[name](...row); } catch (error) { return null; }
    }));
}"""
# Milliseconds from a changed value to the finished picture.
REACT = """async (frame) => {
    const slider = frame.querySelector("input[type=range]");
    const times = [];
    for (let i = 0; i < 9; i++) {
        const up = Number(slider.value) < Number(slider.max);
        slider.value = Number(slider.value) + (up ? 1 : -1) * Number(slider.step || 1);
        const start = performance.now();
        slider.dispatchEvent(new Event("input", { bubbles: true }));
        await new Promise(queueMicrotask);
        frame.getBoundingClientRect();
        times.push(performance.now() - start);
        await new Promise(requestAnimationFrame);
    }
    return Math.min(...times);
}"""


def call(browser, name, function, rows):
    """What a module's function returns for each row of arguments."""
    source = base64.b64encode(files.read_text(f"{name}.js").encode()).decode()
    tab = browser.new_page()
    try:
        return json.loads(tab.evaluate(CALL, [source, function, json.dumps(rows)]))
    finally:
        tab.close()


@pytest.fixture(scope="session")
def places(book):
    """For each explorer, the pages that show it, the one that opens fastest first."""
    found = {name: [] for name in EXPLORERS}
    texts = {n: (book / f"{n}.html").read_text(encoding="utf-8") for n in pages()}
    for name, html in sorted(texts.items(), key=lambda item: item[1].count("math")):
        for explorer in re.findall(r'data-explorer="(\w+)"', html):
            found[explorer].append(f"{name}.html")
    return found


def frame(page, name):
    """The explorer, alive."""
    box = page.locator(f'.explorer-frame[data-explorer="{name}"]').first
    box.scroll_into_view_if_needed()  # it comes alive only then
    box.locator(".explorer").wait_for()
    return box


def said(box):
    return box.locator("[role=status]").first.inner_text()


@every
def test_every_explorer_has_a_page(places, name):
    assert places[name]


@every
def test_without_javascript_there_is_a_picture_with_words(browser, book, places, name):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{book.as_uri()}/{places[name][0]}")
    still = page.locator(f'[data-explorer="{name}"] .explorer-still').first
    assert still.locator("svg, img").first.is_visible()
    assert len(still.locator("p").all_inner_texts()[0]) > 60
    context.close()


@dataclass
class Look:
    """What one visit of an explorer showed."""

    heights: list[tuple[str, float, float]]  # place, kept free, needed
    reaction: float  # milliseconds
    ground: str  # in the dark theme
    changed: bool  # by the dark theme
    controls: int  # on paper
    words: str  # on paper


HEIGHTS = """([box]) => [
    Number(getComputedStyle(box).minHeight.replace("px", "")),
    box.querySelector(":scope > div").offsetHeight,
]"""


@pytest.fixture(scope="module")
def looks(browser, book, places):
    """One visit of each page of an explorer serves the tests below."""
    seen: dict[str, Look] = {}

    def look(name: str) -> Look:
        if name in seen:
            return seen[name]
        heights = []
        for place in dict.fromkeys(places[name]):
            with visit(browser, book.as_uri(), place, color_scheme="light") as (
                page,
                _,
            ):
                box = frame(page, name)
                boxes = page.locator(f'[data-explorer="{name}"]')
                heights.append((place, *boxes.evaluate_all(HEIGHTS)))
                if place == places[name][0]:
                    light = box.screenshot()
                    page.evaluate("document.documentElement.dataset.theme = 'dark'")
                    page.wait_for_timeout(100)
                    ground = box.locator(".explorer").evaluate(
                        "box => getComputedStyle(box).backgroundColor"
                    )
                    changed = box.screenshot() != light
                    reaction = box.evaluate(REACT)
                    page.emulate_media(media="print")
                    controls = box.locator("input:visible, button:visible").count()
                    words = said(box)
                    page.emulate_media(media="screen")
                    page.goto("about:blank")  # and back as it was at first
                    page.goto(f"{book.as_uri()}/{place}")
                page.set_viewport_size(PHONE)
                settle(page)
                frame(page, name)
                heights.append((f"{place}, phone", *boxes.evaluate_all(HEIGHTS)))
        seen[name] = Look(heights, reaction, ground, changed, controls, words)
        return seen[name]

    return look


@every
def test_its_place_is_kept_free_while_it_loads(looks, name):
    for place, kept, needed in looks(name).heights:
        assert kept - 40 <= needed <= kept + 2, (place, needed, kept)


@every
def test_it_reacts_within_a_frame(looks, name):
    assert looks(name).reaction < 16


@every
def test_it_follows_the_theme(looks, name):
    assert looks(name).ground == "rgb(20, 20, 20)"
    assert looks(name).changed


@every
def test_on_paper_there_are_no_sliders(looks, name):
    assert looks(name).controls == 0
    assert looks(name).words


@every
def test_it_is_worked_by_keyboard_alone(browser, book, places, name):
    with visit(browser, book.as_uri(), places[name][0]) as (page, _):
        box = frame(page, name)
        before = said(box), page.url
        box.evaluate("box => { box.tabIndex = -1; box.focus(); }")
        reached = set()
        for _ in range(40):
            page.keyboard.press("Tab")
            inside = page.evaluate(
                "document.activeElement.closest('.explorer-frame')"
                " && document.activeElement.outerHTML"
            )
            if not inside:
                break
            reached.add(inside)
            if 'type="range"' in inside:
                page.keyboard.press("ArrowRight")
        wanted = box.locator(
            ":is(button, select, input, [tabindex='0'])"
            ":not(:disabled, [tabindex='-1']):visible"
        ).count()
        page.wait_for_timeout(350)
        assert len(reached) >= min(wanted, 40) - 2
        assert (said(box), page.url) != before


@every
def test_the_address_holds_the_state(browser, book, places, name):
    with visit(browser, book.as_uri(), places[name][0]) as (page, _):
        box = frame(page, name)
        slider = box.locator("input[type=range]").first
        for _ in range(2):
            slider.press("ArrowRight")
        page.wait_for_timeout(350)
        address, words = page.url, box.inner_text()
    assert f"#explorer={name}&" in address
    base = book.as_uri()
    with visit(browser, base, address.removeprefix(f"{base}/")) as (page, _):
        box = frame(page, name)
        assert box.inner_text() == words
        assert abs(box.bounding_box()["y"]) < 200  # the reader is taken there


@every
def test_nonsense_in_the_address_does_no_harm(browser, book, places, name):
    data = files.read_data(name)
    keys = "&".join(f"{key}=-1e99" for key in data["limits"])
    for address in (keys, keys.replace("-1e99", "<b>x</b>") + "&colour=red"):
        place = f"{places[name][0]}#explorer={name}&{address}"
        with visit(browser, book.as_uri(), place) as (page, trouble):
            assert frame(page, name).is_visible()
        assert trouble.console == []


def test_sizes_are_those_of_course_lib(browser):
    draw = random.Random(0)
    rows, sizes, lines, idle = [], [], [], []
    while len(lines) < 2500:
        n, k, s = draw.randint(1, 256), draw.randint(1, 11), draw.randint(1, 8)
        n = draw.choice([n, n % 20 + 1])
        p, d = draw.randint(0, 8), draw.randint(1, 6)
        kind = draw.choice(["conv", "pool"])
        up = kind == "pool" and draw.random() < 0.5
        rows.append([n, k, s, p, d, kind, up])
        try:
            sizes.append(output_size(n, k, s, p, d, kind=kind, ceil_mode=up))
        except ValueError:
            sizes.append(None)
            continue
        lines.append(arithmetic(n, Layer(kind, k, s, p, d, up)))
        idle.append(unread(n, k, s, p, d, kind=kind, ceil_mode=up)._asdict())
    good = [(row, out) for row, out in zip(rows, sizes) if out]
    assert None in sizes  # refused by both
    assert call(browser, "convolution", "outputSize", rows) == sizes
    assert call(browser, "convolution", "arithmetic", [r for r, _ in good]) == lines
    settings = [[*row[:5], out] for row, out in good]
    assert call(browser, "convolution", "unread", settings) == idle


def test_the_window_moves_by_keys_mouse_and_touch(browser, book, places):
    options = {"has_touch": True, "viewport": PHONE}
    context = browser.new_context(**options)
    page = context.new_page()
    page.goto(f"{book.as_uri()}/chapters/mechanism/index.html")
    box = frame(page, "convolution")
    grid = box.locator(".ex-input")
    assert "Output row 3, column 3" in said(box)
    grid.focus()
    for key in ("Home", "ArrowRight", "ArrowRight", "ArrowDown"):
        page.keyboard.press(key)
    assert "Output row 1, column 2" in said(box)
    where = grid.bounding_box()
    grid.tap(position={"x": where["width"] - 20, "y": 40})
    assert "Output row 0, column 3" in said(box)
    box.locator(".ex-side canvas").first.click(position={"x": 4, "y": 4})
    assert "Output row 0, column 0" in said(box)
    box.get_by_role("button", name="Last window").tap()
    assert "Output row 3, column 3" in said(box)
    context.close()


def test_the_floor_is_seen_and_said(browser, book):
    with visit(browser, book.as_uri(), "chapters/mechanism/index.html") as (page, _):
        box = frame(page, "convolution")
        choose = box.get_by_label("Example")
        labels = choose.locator("option").all_inner_texts()
        for label, result, rest in (
            (
                "conv1",
                "= ⌊111.5⌋ + 1 = 112",
                "1 row of padding. No input value is lost",
            ),
            ("layer2.0.downsample.0", "= ⌊27.5⌋ + 1 = 28", "784 of 3,136 input values"),
            ("pooling with K = 2", "= ⌊56⌋ + 1 = 57", "every row is read"),
        ):
            choose.select_option(label=next(t for t in labels if t.startswith(label)))
            text = box.inner_text()
            assert result in text and rest in text
        box.get_by_label("N input size").fill("3")
        box.get_by_label("K kernel").fill("11")
        assert "No output" in box.inner_text()
        assert page.get_by_role("button", name="Play").count() == 0  # reduced motion


def test_the_window_runs_by_itself_where_motion_is_welcome(browser, book):
    context = browser.new_context(reduced_motion="no-preference")
    page = context.new_page()
    page.goto(f"{book.as_uri()}/chapters/mechanism/index.html")
    box = frame(page, "convolution")
    box.get_by_role("button", name="Play").click()
    page.wait_for_timeout(900)
    box.get_by_role("button", name="Pause").click()
    paused = said(box)
    assert "Output row 0, column" in paused and "column 0" not in paused
    page.wait_for_timeout(500)
    assert said(box) == paused
    context.close()


def test_a_widget_in_a_notebook_keeps_its_state_in_the_book(browser, book):
    place = "chapters/mechanism/dimensions.html"
    with visit(browser, book.as_uri(), place) as (page, _):
        text = frame(page, "convolution").inner_text()
        assert "⌊(112 + 2·1 − 2)/2⌋ + 1 = ⌊56⌋ + 1 = 57" in text
        stored = page.locator('[data-explorer="convolution"]').count()
    assert stored == 1
    html = (book / place).read_text(encoding="utf-8")
    assert json.dumps("pooling with K = 2: 112 to 57") in html


def test_backward_gradients_are_torchs_for_every_setting(browser):
    data = files.read_data("conv_backward")
    ranges = [
        range(data["limits"][key][0], data["limits"][key][1] + 1)
        for key in ("size", "kernel", "stride", "padding", "dilation")
    ]
    rows, expected = [], []
    for n, k, s, p, d in itertools.product(*ranges):
        setting = {"size": n, "kernel": k, "stride": s, "padding": p, "dilation": d}
        rows.append([setting, data["delta"], data["x"]])
        try:
            out = output_size(n, k, s, p, d)
        except ValueError:
            expected.append(None)  # refused by both
            continue
        x = torch.tensor(data["x"], dtype=torch.float64)[:n, :n].requires_grad_()
        w = torch.arange(1, k * k + 1, dtype=torch.float64).view(k, k).requires_grad_()
        z = F.conv2d(x[None, None], w[None, None], None, s, p, d)[0, 0]
        delta = torch.tensor(data["delta"], dtype=torch.float64)[:out, :out]
        dx, dw = torch.autograd.grad(z, (x, w), delta)
        expected.append({"dx": dx.tolist(), "dw": dw.tolist()})
    assert None in expected and len(rows) == 7 * 3 * 4 * 4 * 2
    assert call(browser, "conv_backward", "gradients", rows) == expected


def test_the_flipped_kernel_walks_by_keys_mouse_and_touch(browser, book, places):
    context = browser.new_context(has_touch=True, viewport=PHONE)
    page = context.new_page()
    page.goto(f"{book.as_uri()}/chapters/backprop/index.html")
    box = frame(page, "conv_backward")
    result = box.locator(".ex-result")
    assert "2 · 9 + 0 · 7 + 3 · 3 + 1 · 1 = 28; so far 18" in result.inner_text()
    assert "With the kernel not flipped the sum would be 32." in said(box)
    for so_far in ("so far 18", "so far 27"):
        box.get_by_role("button", name="One term more").tap()
        assert so_far in result.inner_text()
    walk = box.locator("canvas").first
    walk.focus()
    for key in ("Enter", "Enter"):  # the last term, then on to the next place
        page.keyboard.press(key)
    assert "∂L/∂x[1, 4] = 0 · 8 + 1 · 2 = 2; so far 0" in result.inner_text()
    for key in ("Home", "ArrowDown", "ArrowDown", "ArrowRight"):
        page.keyboard.press(key)
    assert "∂L/∂x[2, 1] = −1 · 6 + 3 · 4 = 6" in result.inner_text()
    where = walk.bounding_box()
    walk.tap(position={"x": where["width"] - 4, "y": 4})
    assert "∂L/∂x[0, 4]" in result.inner_text()
    box.locator(".ex-side canvas").first.click(position={"x": 4, "y": 4})
    assert "∂L/∂x[0, 0] = 1 · 5 = 5" in result.inner_text()

    box.get_by_label("Example").select_option(label="1 × 1, stride 2: holes")
    assert "x[1, 3] was read by no window" in said(box)
    box.get_by_label("Example").select_option(label="weights of 3 × 3, stride 2")
    assert "∂L/∂w[1, 2] = " in result.inner_text()
    assert "w[1, 2] was used at 9 places, at 6 of them inside" in said(box)
    box.get_by_label("N input size").fill("1")
    box.get_by_label("P padding").fill("0")
    assert "No output. The window spans 3 rows" in box.inner_text()
    context.close()


def ledger_rows(model, batch, size):
    """The rows of the ledger as the module gives them, for the whole batch."""
    return [
        [
            row.name,
            *row.output_shape[1:],
            row.parameters,
            row.macs,
            row.output_bytes,
            row.kept_bytes,
            row.field[0],
        ]
        for row in ledger(model, (batch, 3, size, size)).rows
    ]


def test_the_walk_counts_what_the_ledger_counts(browser):
    draw = random.Random(1)
    data = files.read_data("network")
    cases, expected, memories = [], [], []
    for depth in LAYERS:
        stem = draw.choice(["imagenet", "small"])
        classes = draw.choice([6, 1000])
        with torch.device("meta"):
            model = resnet(depth, stem=stem, num_classes=classes)
        model.to_empty(device="cpu")  # real, but nobody waits for random numbers
        for size in (draw.choice([32, 64, 224]), draw.randint(32, 512)):
            batch = draw.randint(2, 9)
            cases.append([data, depth, stem, classes, size])
            expected.append(ledger_rows(model, batch, size))
            memories.append((batch, fits(8 * 2**30, model, (3, size, size))))
    assert sum(map(len, expected)) > 2000
    found = call(browser, "network", "walk", cases)
    for rows, wanted, (batch, _) in zip(found, expected, memories):
        ours = [
            [
                row["name"],
                *row["output"],
                row["parameters"],
                row["macs"] * batch,
                row["bytes"] * batch,
                row["kept"] * batch + row["fixed"],
                row["field"],
            ]
            for row in rows
        ]
        assert ours == wanted
    arguments = [
        [data, case[1], rows, batch, 8]
        for case, rows, (batch, _) in zip(cases, found, memories)
    ]
    for (batch, fit), sums in zip(
        memories, call(browser, "network", "training", arguments)
    ):
        assert sums["peak"] == fit.peak(batch)
        assert sums["largest"] == fit.batch


def test_a_unit_opens_by_keys_and_touch(browser, book, places):
    context = browser.new_context(has_touch=True, viewport=PHONE)
    page = context.new_page()
    story = "chapters/structure/index.html"  # other pages open other units first
    assert story in places["network"]
    page.goto(f"{book.as_uri()}/{story}")
    box = frame(page, "network")
    box.get_by_role("button", name="layer3.0, special unit").tap()
    text = box.inner_text()
    assert "layer3.0, a special unit: x of 128 × 28 × 28 goes two ways" in text
    assert "reads 196 of 784 positions" in text
    page.keyboard.press("ArrowRight")
    assert "layer3.1, a common unit: x of 256 × 14 × 14 goes" in box.inner_text()
    focused = page.evaluate("document.activeElement.dataset.unit")
    assert focused == "layer3.1"
    box.get_by_role("button", name="152").tap()
    assert "60,192,808 parameters" in said(box)
    assert box.locator(".ex-units button").count() == 52
    box.get_by_label("photo pixels").last.fill("225")
    assert "at 225 pixels" in said(box)
    context.close()


def test_normalizing_is_what_torch_does(browser):
    draw = random.Random(2)
    data = files.read_data("batch_norm")
    rows, expected = [], []
    for _ in range(2000):
        values = [draw.uniform(-6, 6) for _ in range(draw.randint(1, 8))]
        gamma, beta, mean = (draw.uniform(-3, 3) for _ in range(3))
        variance = draw.uniform(0, 9)
        mode = "train" if draw.random() < 0.6 and len(values) > 1 else "eval"
        settings = (mode, mean, variance, data["eps"], data["momentum"])
        rows.append([values, gamma, beta, *settings])
        memory = torch.tensor([[mean], [variance]], dtype=torch.float64)
        out = F.batch_norm(
            torch.tensor(values, dtype=torch.float64).view(-1, 1),
            *memory,
            torch.tensor([gamma], dtype=torch.float64),
            torch.tensor([beta], dtype=torch.float64),
            training=mode == "train",
            momentum=data["momentum"],
            eps=data["eps"],
        )
        expected.append([*out.flatten().tolist(), *memory.flatten().tolist()])
    found = call(browser, "batch_norm", "normalize", rows)
    for result, wanted in zip(found, expected):
        ours = [*result["output"], result["nextMean"], result["nextVar"]]
        assert ours == pytest.approx(wanted, rel=1e-9, abs=1e-9)


def test_a_value_is_dragged_and_the_memory_catches_up(browser, book):
    place = "chapters/structure/index.html"
    with visit(browser, book.as_uri(), place) as (page, trouble):
        box = frame(page, "batch_norm")
        mean = r"this batch: mean μ = ([−\d.]+)"
        before = re.search(mean, box.inner_text())[1]
        dot = box.get_by_role("slider", name="value 1", exact=True)
        dot.scroll_into_view_if_needed()
        at = dot.bounding_box()
        page.mouse.move(at["x"] + at["width"] / 2, at["y"] + at["height"] / 2)
        page.mouse.down()
        page.mouse.move(at["x"] - 80, at["y"], steps=4)
        page.mouse.up()
        after = re.search(mean, box.inner_text())[1]
        assert after != before
        start = float(dot.get_attribute("aria-valuenow"))
        dot.press("ArrowRight")
        moved = float(dot.get_attribute("aria-valuenow"))
        assert moved == pytest.approx(start + 0.1)
        assert "mean 0.00 and deviation 1.00" in said(box)

        for _ in range(4):
            box.get_by_role("button", name="train on ten").click()
        remembered = re.search(r"remembered: mean ([−\d.]+)", box.inner_text())[1]
        assert 1.5 < float(remembered) < 3.5
        box.get_by_role("button", name="eval").click()
        assert "Each value goes its own way" in said(box)
        box.get_by_role("button", name="ten further").click()
        assert f"remembered: mean {remembered}" in box.inner_text()

        box.get_by_role("button", name="train", exact=True).click()
        box.get_by_label("m values").last.fill("1")
        assert "PyTorch refuses" in said(box)
    assert trouble.console == []


def test_the_scalar_argument_is_course_libs(browser):
    draw = random.Random(3)
    data = files.read_data("gradient_flow")
    rows, expected = [], []
    while len(rows) < 300:
        units, scale = draw.randint(1, 32), draw.choice([0.25, 0.5, 1, 1.4, 2])
        slope = draw.choice(list(data["slopes"].values()))
        weights = draw.sample(data["weights"], draw.randint(1, 12))
        rows.append([weights, units, scale, slope])
        expected.append(chain(weights, units, scale, slope))
    compared = 0
    for result, wanted in zip(call(browser, "gradient_flow", "chain", rows), expected):
        for kind in ("plain", "residual"):
            assert result[kind] == pytest.approx(wanted[kind], rel=1e-9, abs=1e-9)
            compared += len(wanted[kind])
    assert compared > 2000


def test_gradients_with_and_without_bn(browser, book):
    with visit(browser, book.as_uri(), "chapters/backprop/index.html") as (page, _):
        box = frame(page, "gradient_flow")
        assert "in real networks, plain 10−10.4, residual 1.3" in said(box)
        box.get_by_label("batch normalization").check()
        assert "takes the scale of the weights away" in said(box)
        with_bn = said(box).split(";")[0]
        slider = box.locator("input[type=range]")
        for _ in range(3):
            slider.press("ArrowRight")
        assert said(box).split(";")[0] == with_bn
        assert box.locator("svg polyline").count() == 4
        box.get_by_role("button", name="off").click()
        assert box.locator("svg polyline").count() == 2
        assert "residual" not in said(box).split(";")[0]
