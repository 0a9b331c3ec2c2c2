// One photo, layer by layer: the maps of each layer, and the sums that make a value.
// common.js

const KEYS = ["step", "map", "place", "branch", "part", "answer"];
const COLORS = ["red", "green", "blue"];
const PIXELS = 224;

/** The arrays of a file by name: integers times the array's scale. */
async function unpack({ blob, index }) {
  const packed = Uint8Array.from(atob(blob), (letter) => letter.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
  const raw = new Uint8Array(await new Response(stream).arrayBuffer());
  const arrays = {};
  let at = 0;
  for (const [name, kind, shape, scale] of index) {
    const count = shape.reduce((a, b) => a * b);
    const data = new Float64Array(count);
    for (let i = 0; i < count; i++) { // of two bytes, all the low ones come first
      const whole = kind === "i1" ? (raw[at + i] << 24) >> 24 : ((raw[at + count + i] << 24) >> 16) | raw[at + i];
      data[i] = whole * scale;
    }
    arrays[name] = { data, shape };
    at += count * (kind === "i1" ? 1 : 2);
  }
  return arrays;
}

const total = (values) => values.reduce((a, b) => a + b, 0);

/** Window times kernel, summed for each input channel, and over all. */
function weigh(window, kernel, channels) {
  const products = window.map((value, i) => value * kernel[i]);
  const each = products.length / channels;
  const sums = Array.from({ length: channels }, (_, c) => total(products.subarray(c * each, (c + 1) * each)));
  return { window, kernel, products, sums, z: total(sums) };
}

/** Batch normalization in eval mode. */
const normalize = (z, [gamma, beta, mean, variance], eps) => (gamma * (z - mean)) / Math.sqrt(variance + eps) + beta;

function softmax(logits) {
  const most = Math.max(...logits);
  const powers = logits.map((logit) => Math.exp(logit - most));
  return { most, powers, shares: powers.map((power) => power / total(powers)) };
}

/** How one value comes about: of step name, shown map (at the end class) k, place p. */
function trace(more, arrays, name, k, p) {
  const step = more.steps[name];
  const take = (key, at) => {
    const { data, shape } = arrays[`${name}/${key}`];
    const size = data.length / shape[0];
    return data.subarray(at * size, (at + 1) * size);
  };
  const sum = (way, scale, four) => {
    const found = weigh(take(`${way}patch`, p), take(`${way}kernel`, k).map((w) => w * scale), arrays[`${name}/${way}patch`].shape[1]);
    return { ...found, f: normalize(found.z, four, more.eps) };
  };
  if (step.kind === "photo") {
    const value = step.pixels[p][k] / 255;
    return { value, out: (value - more.mean[k]) / more.std[k] };
  }
  if (step.kind === "pool") {
    const window = take("patch", p).subarray(k * 9, k * 9 + 9);
    return { window, out: Math.max(...window) };
  }
  if (step.kind === "average") {
    const window = take("maps", k);
    return { window, out: total(window) / window.length };
  }
  if (step.kind === "head") {
    const { data } = arrays[`${name}/x`];
    const rows = step.scales.map((scale, i) => weigh(data, take("kernel", i).map((w) => w * scale), data.length));
    const logits = rows.map(({ z }, i) => z + step.bias[i]);
    return { ...rows[k], logits, out: logits[k], ...softmax(logits) };
  }
  const main = sum("", step.scales[k], step.bn[k]);
  if (step.kind === "conv") return { main, out: Math.max(0, main.f) };
  const side = step.side_bn ? sum("side_", step.side_scales[k], step.side_bn[k]) : { f: step.truth.shortcut[k][p] };
  return { main, side, sum: main.f + side.f, out: Math.max(0, main.f + side.f) };
}

async function render({ model, el }) {
  const { limits, more } = model.get("_data");
  const arrays = await unpack(more);
  const names = limits.step.oneOf;
  const set = (values) => update(model, values);
  const minus = (text) => `${text}`.replaceAll("-", "−");
  const two = (v) => minus((Math.abs(v) < 0.005 ? 0 : v).toFixed(2));
  const short = (v) => minus(Math.abs(v) < 5e-4 ? 0 : v.toFixed(Math.abs(v) < 0.095 ? 3 : Math.abs(v) < 9.995 ? 2 : 1));
  const three = (v) => minus(Number(v.toPrecision(3)));
  const percent = (share) => `${(100 * share).toFixed(1)}\u00a0%`;
  const div = (name, ...children) => h("div", { class: name }, ...children);
  const p_ = (...children) => h("p", {}, ...children);
  const span = (...children) => h("span", {}, ...children);
  const b = (text) => h("b", {}, text);
  const head = (...children) => h("p", { class: "ex-heading" }, ...children);
  const small = (text) => h("small", {}, text);
  const canvas = () => h("canvas");
  const spot = () => h("i", { class: "ex-spot" });

  /** What can be chosen, with a button over it. */
  const pick = (choose, label, ...shown) =>
    div("ex-pick", ...shown, h("button", { type: "button", "aria-label": label, onclick: choose }));
  const press = (box, on) => {
    box.lastChild.setAttribute("aria-pressed", `${on}`);
    box.lastChild.tabIndex = on ? 0 : -1;
  };
  /** Arrow keys lead through a group; the chosen one is its tab stop. */
  const roving = (event) => {
    const by = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (!by) return;
    event.preventDefault();
    const all = [...event.currentTarget.querySelectorAll("button")];
    const next = all[all.indexOf(event.target) + by];
    if (next) { next.focus(); next.click(); }
  };
  const group = (name, className, children) => h("div", { class: className, role: "group", "aria-label": name, onkeydown: roving }, children);

  const strip = names.map((name) => pick(() => set({ step: name }), name,
    name === "photo" ? h("img", { src: more.photo, alt: "photo", "aria-hidden": "true" }) : canvas(), span(more.steps[name].label)));
  const slider = h("input", { type: "range", min: 0, max: names.length - 1, "aria-label": "step of the way", oninput: () => set({ step: names[slider.value] }) });
  const marks = more.places.map(([, row, column]) => h("i", { class: "ex-mark", style: `top: ${row / 2.24}%; left: ${column / 2.24}%` }));
  const field = h("i", { class: "ex-field" });
  const sees = small();
  const photo = div("ex-photo", h("img", { src: more.photo, alt: more.alt }), field, marks);
  photo.onclick = (event) => { // the nearest place
    const { left, top, width } = photo.getBoundingClientRect();
    const far = ([, row, column]) => Math.hypot((event.clientX - left) / width - column / PIXELS, (event.clientY - top) / width - row / PIXELS);
    set({ place: more.places.reduce((a, z) => (far(z) < far(a) ? z : a))[0] });
  };
  const place = choice("", more.places.map(([name]) => [name, name]), (value) => set({ place: value }), "Place");
  const heading = head();
  const tiles = Array.from({ length: limits.map[1] }, (_, k) => pick(() => set({ map: k + 1 }), "", div("ex-map", canvas(), spot()), span()));
  const maps = group("Maps", "ex-tiles", tiles);
  const classes = more.classes.map((name) => pick(() => set({ answer: name }), name, span(name), h("i", { class: "ex-bar" }), b("")));
  const answers = group("Classes", "ex-answers", classes);
  const key = h("p", { class: "ex-scale" });
  const says = h("p", { class: "ex-result", role: "status" });
  const detail = div("ex-detail");
  el.classList.add("explorer", "explorer-activations");
  el.append(div("ex-head", h("p", { class: "ex-title" }, "One photo, layer by layer")),
    group("The way", "ex-strip", strip), slider,
    div("ex-choose", div("ex-where", photo, div("", place.box, p_(sees))), div("", heading, maps, answers, key)), says, detail);

  let inks = {};
  let painted = "";
  /** Draw a function of the position: blue above 0, orange below. */
  function paint(box, n, value, most) {
    box.width = box.height = n;
    const context = box.getContext("2d");
    const image = context.createImageData(n, n);
    const table = Array.from({ length: 255 }, (_, i) => inks.ground.map((low, c) => low + (inks[i < 127 ? "orange" : "blue"][c] - low) * Math.abs(i / 127 - 1)));
    for (let i = 0; i < n * n; i++) {
      image.data.set(table[Math.round(127 * clamp(value(i) / most, [-1, 1])) + 127], 4 * i);
      image.data[4 * i + 3] = 255;
    }
    context.putImageData(image, 0, 0);
  }

  /** The maps of shown channel k, n × n: functions of the position. */
  function mapsOf(name, k) {
    if (name === "maxpool") {
      const { n: wide, out } = mapsOf("conv1", k);
      const n = wide / 2;
      return { n, out(i) {
        const at = 2 * wide * Math.floor(i / n) + 2 * (i % n);
        let most = 0;
        for (let u = i < n ? 0 : -1; u < 2; u++) for (let v = i % n ? -1 : 0; v < 2; v++) most = Math.max(most, out(at + u * wide + v));
        return most;
      } };
    }
    const { data, shape } = arrays[`${name}/maps`];
    const n = shape.at(-1);
    const read = (at) => (i) => data[at * n * n + i];
    if (more.steps[name].kind !== "unit") return { n, out: read(k) };
    const [shortcut, f] = [read(k), read(limits.map[1] + k)];
    return { n, shortcut, f, sum: (i) => shortcut(i) + f(i), out: (i) => Math.max(0, shortcut(i) + f(i)) };
  }
  const greatest = (n, ...values) => Math.max(1e-9, ...values.map((value) => {
    let most = 0;
    for (let i = 0; i < n * n; i++) most = Math.max(most, Math.abs(value(i)));
    return most;
  }));

  function drawStrip() {
    if (painted === (painted = JSON.stringify(inks))) return;
    names.forEach((name, i) => {
      const box = strip[i].firstChild;
      if (name === "fc") {
        const { shares } = trace(more, arrays, name, 0, 0);
        paint(box, 48, (at) => (at % 48 < 3 + 45 * shares[Math.floor(at / 384)] ? 1 : 0), 1);
      } else if (name !== "photo") {
        const { n, out } = mapsOf(name, 1);
        const { out: mean } = trace(more, arrays, name, 1, 0);
        paint(box, name === "avgpool" ? 1 : n, name === "avgpool" ? () => mean : out, greatest(n, out));
      }
    });
  }

  const point = (box, { kind, shape, at }, p) => {
    const [top, left] = at[p].map((one) => (100 * one) / shape[1]);
    box.style.cssText = `top: ${top}%; left: ${left}%; width: ${100 / shape[1]}%; height: ${100 / shape[1]}%`;
  };
  const colored = (v) => (v < 0 ? "var(--ex-orange)" : "var(--ex-blue)");

  /** Numbers in a square. */
  function cells(values, label, pad = () => false, best = -1) {
    const n = Math.sqrt(values.length);
    const most = Math.max(...values.map(Math.abs), 1e-9);
    const texts = [...values].map((v) => short(v).replace(n > 3 ? /^(−?)0\./ : /^(−?)0\.(?=0)/, "$1."));
    return div("", small(label), h("div", { class: n > 3 ? "ex-cells" : "ex-cells few", style: `--n: ${n}`, role: "img", "aria-label": `${label}: ${texts.join(", ")}` },
      texts.map((text, i) => h("span", { class: pad(i) ? "pad" : i === best && "most",
        style: `background: color-mix(in srgb, ${colored(values[i])} ${Math.round((45 * Math.abs(values[i])) / most)}%, var(--ex-ground))` }, text))));
  }

  /** A sum: its largest parts (or all), the others together, the total. */
  function parts(sums, label, end, { part, bias, all } = {}) {
    const order = [...sums.keys()];
    if (!all) order.sort((i, j) => Math.abs(sums[j]) - Math.abs(sums[i])).splice(limits.part[1]);
    const rows = order.map((c) => [label(c), sums[c]]);
    if (!all) rows.push([`${sums.length - order.length} others`, total(sums) - total(order.map((c) => sums[c]))]);
    if (bias) rows.push(["bias", bias]);
    const most = Math.max(...rows.map(([, v]) => Math.abs(v)));
    const chosen = Math.min(part ?? 0, order.length) - 1;
    const boxes = rows.map(([text, v], i) => {
      const width = (50 * Math.abs(v)) / most;
      const shown = [span(text), h("i", { class: "ex-part", style: `--from: ${v < 0 ? 50 - width : 50}%; --to: ${v < 0 ? 50 : 50 + width}%; --ink: ${colored(v)}` }), b(two(v))];
      if (!part || i >= order.length) return div("", shown);
      const box = pick(() => set({ part: i + 1 }), `${text}: ${two(v)}`, shown);
      press(box, i === chosen);
      return box;
    });
    return [order[chosen], group("Parts of the sum", "ex-parts", [...boxes, div("total", span(end), span(), b(two(total(sums) + (bias ?? 0))))])];
  }

  const check = (ours, theirs) => p_(Math.abs(ours - theirs) < 0.01 ? "✓" : "✗", " PyTorch, running the whole network, found ", b(two(theirs)), " here.");

  /** A sum: its parts, the products of one of them, and BN. */
  function opened({ window, kernel, products, sums, z, f }, title, from, stride, four, { step, p, part }) {
    const size = window.length / sums.length;
    const k = Math.sqrt(size);
    const all = sums.length === 3;
    const label = (c) => (all ? COLORS[c] : `channel ${c}`);
    const [c, list] = parts(sums, label, "z, their sum", { all, part: k > 1 && part });
    const cut = (values) => values.subarray(c * size, (c + 1) * size);
    const [i, j] = step.at[p].map((at) => at * stride - (k >> 1));
    const inside = (at) => at >= 0 && at < step.shape[1] * stride;
    const pad = (at) => !inside(i + Math.floor(at / k)) || !inside(j + (at % k));
    const [gamma, beta, mean, variance] = four.map(three);
    return [head(title, " ", small(`${window.length.toLocaleString("en")} products, ${size} for each of ${sums.length} input channels`)),
      div(k > 3 ? "ex-open big" : "ex-open", list, k === 1
        ? p_("A 1 × 1 kernel on every second row and column: for each channel one value of x times one weight.")
        : div("", p_(b(label(c)), ": what the kernel reads, times the kernel"),
          div(k > 3 ? "ex-three many" : "ex-three", cells(cut(window), from, pad), span("×"), cells(cut(kernel), "kernel"), span("="), cells(cut(products), "products")),
          p_(`These ${size} products add up to `, b(two(sums[c])), cut(window).some((_, at) => pad(at)) ? "; dashed: zeros of the padding." : "."))),
      div("ex-chain", p_(`BN: ${gamma} · (${two(z)} − ${mean}) / √(${variance} + ε) + ${beta} = `.replaceAll("− −", "+ ").replaceAll("+ −", "− "), b(two(f))))];
  }

  const DETAIL = {
    photo: ({ t, k, raw }) => [head("How a pixel enters the network"), div("ex-chain",
      p_(`${raw} / 255 = ${t.value.toFixed(3)}`),
      p_(`minus the mean, divided by the deviation of ${COLORS[k]}: (${t.value.toFixed(3)} − ${more.mean[k]}) / ${more.std[k]} = `, b(two(t.out))))],
    conv(now) {
      const { t, k, step } = now;
      const body = opened(t.main, "A sum of products", "photo", 2, step.bn[k], now);
      body.at(-1).append(p_(`ReLU: max(0, ${two(t.main.f)}) = `, b(two(t.out))));
      return body;
    },
    pool({ t, step, p }) {
      const [i, j] = step.at[p];
      const pad = (at) => (i === 0 && at < 3) || (j === 0 && at % 3 === 0);
      return [head("The largest of nine"), div("ex-alone", cells(t.window, "what the window sees", pad, t.window.indexOf(t.out))),
        div("ex-chain", p_("Only the largest goes on: ", b(two(t.out)), pad(0) ? ". Dashed: padding, which never wins." : "."))];
    },
    unit(now) {
      const { name, step, t, k, p, branch } = now;
      const { n, ...ways } = mapsOf(name, k);
      const most = greatest(n, ways.shortcut, ways.f, ways.sum);
      const special = "side_bn" in step;
      const x = special ? "projected x" : "x";
      const tile = (label, way, v, to) => {
        const [box, ring] = [canvas(), spot()];
        paint(box, n, way, most);
        point(ring, step, p);
        const shown = [div("ex-map", box, ring), span(label), b(two(v))];
        if (!to) return div("", shown);
        const picked = pick(() => set({ branch: to }), `${label}: ${two(v)}`, shown);
        press(picked, to === branch);
        return picked;
      };
      const body = branch === "F" ? opened(t.main, "F(x): the unit's second convolution", "inner maps", 1, step.bn[k], now)
        : special ? opened(t.side, "Projected x: a 1 × 1 convolution", "x", 2, step.side_bn[k], now)
          : [head("The identity"), div("ex-chain", p_("x is what came into the unit, channel by channel: no weights, no products. Here it is ", b(two(t.side.f)), "."))];
      body.at(-1).append(p_(`${two(t.side.f)} + ${two(t.main.f)} = ${two(t.sum)}, ReLU: max(0, ${two(t.sum)}) = `.replace("+ −", "− "), b(two(t.out))));
      return [group("Branches", "ex-adds", [tile(x, ways.shortcut, t.side.f, "shortcut"), span("+"), tile("F(x)", ways.f, t.main.f, "F"), span("="),
        tile("sum", ways.sum, t.sum), span("→"), tile("after ReLU", ways.out, t.out)]), ...body];
    },
    average: ({ t }) => [head("The mean of 49 values"), div("ex-alone wide", cells(t.window, "the map")),
      div("ex-chain", p_(`Their sum, ${two(49 * t.out)}, divided by 49 is `, b(two(t.out)), ". Where in the map they stood no longer counts."))],
    head({ t, k, step }) {
      const [, list] = parts(t.sums, (c) => `channel ${c}`, "logit", { bias: step.bias[k] });
      const row = (scope, cells, bold) => h("tr", {}, cells.map((text, i) => h(...(i && scope === "row" ? ["td", {}] : ["th", { scope }]), bold ? b(text) : text)));
      return [head(more.classes[k], " ", small("512 products, an average times a weight; no channel decides alone")),
        div("ex-open", list, h("table", {}, h("thead", {}, row("col", ["class", "logit z", `e^(z − ${two(t.most)})`, "share"])),
          h("tbody", {}, more.classes.map((text, i) => row("row", [text, two(t.logits[i]), t.powers[i].toFixed(4), percent(t.shares[i])], i === k)),
            row("row", ["sum", "", total(t.powers).toFixed(4), percent(total(t.shares))])))),
        div("ex-chain")];
    },
  };

  /** The sentence about the chosen value. */
  function tell({ step, t, k, p, raw }) {
    const [i, j] = step.at?.[p] ?? [];
    const place = `at row ${i}, column ${j}, ${more.where[p]},`;
    const channel = `Channel ${step.channels?.[k]}`;
    const out = b(two(t.out));
    return {
      photo: () => [`Here, ${place} ${COLORS[k]} is ${raw} of 255, and enters the network as `, out, "."],
      unit: () => [`${channel} ${place} is what two branches bring, the shortcut `, b(two(t.side.f)), " and F(x) ", b(two(t.main.f)), "; after ReLU ", out, " goes on."],
      average: () => [`${channel} becomes `, out, "."],
      head: () => [`${more.classes[k]}: logit `, out, ", probability ", b(percent(t.shares[k])), "."],
    }[step.kind]?.() ?? [`${channel} ${place} is `, out, "."];
  }

  function draw() {
    const s = Object.fromEntries(KEYS.map((name) => [name, model.get(name)]));
    const colors = palette(el);
    inks = Object.fromEntries(["ground", "blue", "orange"].map((name) => [name, colors[name].match(/[\d.]+/g).slice(0, 3).map(Number)]));
    drawStrip();
    const name = s.step;
    const step = more.steps[name];
    const p = more.places.findIndex(([one]) => one === s.place);
    const last = step.kind === "head";
    const count = last ? 0 : step.channels.length;
    const k = last ? more.classes.indexOf(s.answer) : Math.min(s.map, count) - 1;
    const t = trace(more, arrays, name, k, p);
    slider.value = names.indexOf(name);
    slider.setAttribute("aria-valuetext", step.label);
    strip.forEach((box, i) => press(box, names[i] === name));

    const whole = last || step.kind === "average";
    place.show(s.place);
    marks.forEach((mark, i) => mark.classList.toggle("on", i === p && !whole));
    const jump = PIXELS / step.shape[1];
    const [rows, columns] = more.places[p].slice(1).map((at) => {
      const center = whole ? PIXELS / 2 : Math.floor(at / jump) * jump;
      return [-1, 1].map((way) => clamp(center + (way * step.field) / 2, [0, PIXELS]) / 2.24);
    });
    field.style.cssText = `top: ${rows[0]}%; height: ${rows[1] - rows[0]}%; left: ${columns[0]}%; width: ${columns[1] - columns[0]}%`;
    sees.textContent = whole ? "Averaging has taken the place away: the whole photo counts." : `Dashed: what this value can depend on, ${step.field} × ${step.field} pixels.`;
    place.box.hidden = whole;

    maps.hidden = last;
    answers.hidden = !last;
    heading.replaceChildren(...step.heading.map((text, i) => (i ? small(` ${text}`) : text)));
    if (last) classes.forEach((box, i) => {
      box.children[1].style.setProperty("--share", `${100 * t.shares[i]}%`);
      box.children[2].textContent = percent(t.shares[i]);
      press(box, i === k);
    });
    const shown = step.kind === "photo" || last ? [] : step.channels.map((_, i) => mapsOf(name, i));
    const most = Math.max(...shown.map(({ n, out }) => greatest(n, out)));
    tiles.forEach((box, i) => {
      box.hidden = i >= count;
      if (box.hidden) return;
      const [{ firstChild: map, lastChild: ring }, label] = box.children;
      label.textContent = step.kind === "photo" ? COLORS[i] : `channel ${step.channels[i]}`;
      box.lastChild.setAttribute("aria-label", `${label.textContent}: ${two(trace(more, arrays, name, i, p).out)}`);
      press(box, i === k);
      if (shown.length) paint(map, shown[i].n, shown[i].out, most);
      else map.width = 1;
      map.style.background = shown.length ? "" : `url(${more.photo}) 0 0 / 100%, ${["#f00", "#0f0", "#00f"][i]}`;
      ring.hidden = whole;
      if (!whole) point(ring, step, p);
    });
    key.replaceChildren(...(shown.length ? ["0", h("i"), two(most)] : []));
    const now = { name, step, t, k, p, part: s.part, branch: s.branch, raw: step.pixels?.[p][k] };
    says.replaceChildren(step.about, " ", ...tell(now));
    const held = detail.contains(document.activeElement) && document.activeElement.closest("[role=group]").ariaLabel;
    detail.replaceChildren(...DETAIL[step.kind](now));
    const theirs = step.truth.out[k];
    detail.lastChild.append(check(t.out, last ? theirs : theirs[whole ? 0 : p]));
    if (held) detail.querySelector(`[aria-label="${held}"] [aria-pressed=true]`)?.focus();
  }

  return watch(model, KEYS, el, draw);
}

export { softmax, trace, unpack };
export default { render };
