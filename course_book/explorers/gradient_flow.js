// Gradient flow: how large the gradient is in front of every unit, plain and residual.
// common: begin
const SVG = "http://www.w3.org/2000/svg";

/** Make an element: h("p", { class: "note", onclick: f }, "text", child); svg:rect for SVG. */
function h(tag, attributes = {}, ...children) {
  const element = tag.startsWith("svg:")
    ? document.createElementNS(SVG, tag.slice(4))
    : document.createElement(tag);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (value === true) element.setAttribute(key, "");
    else if (value !== false && value != null) element.setAttribute(key, value);
  }
  if ("tabindex" in attributes || /^(button|input|select)$/.test(tag)) {
    element.dataset.lmSuppressShortcuts = ""; // or JupyterLab takes the arrow keys
  }
  element.append(...children.flat().filter((child) => child != null && child !== false && child !== ""));
  return element;
}

const clamp = (value, [low, high]) => Math.min(high, Math.max(low, value));
const reducedMotion = () => matchMedia("(prefers-reduced-motion: reduce)").matches;
const plural = (n, one, many) => `${n.toLocaleString("en")} ${n === 1 ? one : (many ?? one + "s")}`;

/** Write several values of the model at once. */
function update(model, values) {
  for (const [key, value] of Object.entries(values)) model.set(key, value);
  model.save_changes();
}

/** Call draw once after any of these values, the size of el or the theme changes. */
function watch(model, keys, el, draw) {
  let waiting = false;
  const soon = () => {
    if (!waiting) queueMicrotask(() => { waiting = false; draw(); });
    waiting = true;
  };
  for (const key of keys) model.on(`change:${key}`, soon);
  let width = 0;
  const resized = new ResizeObserver(() => {
    if (el.clientWidth !== width) { width = el.clientWidth; draw(); }
  });
  resized.observe(el);
  const themed = new MutationObserver(soon);
  for (const root of [document.documentElement, document.body]) {
    themed.observe(root, { attributeFilter: ["data-theme", "data-jp-theme-light", "theme"] });
  }
  draw();
  return () => {
    for (const key of keys) model.off(`change:${key}`, soon);
    resized.disconnect();
    themed.disconnect();
  };
}

/** A labeled number with a slider; set is called with what the reader chose. */
function numberField(label, hint, limits, set, step = 1) {
  const [min, max] = limits;
  const read = (event) => {
    const value = Math.round(Number.parseFloat(event.target.value) / step) * step;
    if (!Number.isNaN(value)) set(Number(clamp(value, limits).toFixed(4)));
  };
  const settle = () => { number.value = slider.value; };
  const number = h("input", { type: "number", min, max, step, inputmode: step < 1 ? "decimal" : "numeric", oninput: read, onchange: settle });
  const slider = h("input", { type: "range", min, max, step, "aria-label": `${hint}, slider`, oninput: read });
  const box = h("div", { class: "ex-number" },
    h("label", {}, h("span", {}, label, " ", h("small", {}, hint)), number), slider);
  return {
    box,
    show(value) {
      slider.value = value;
      if (document.activeElement !== number) number.value = value;
    },
  };
}

/** One of several values, as a row of buttons; options are [value, text]. */
function choice(label, options, set, name) {
  const buttons = options.map(([value, text]) =>
    h("button", { type: "button", "aria-pressed": "false", onclick: () => set(value) }, text));
  return {
    box: h("div", { class: "ex-choice", role: "group", "aria-label": name ?? label }, label && h("span", { "aria-hidden": "true" }, label), ...buttons),
    show(value) {
      buttons.forEach((button, i) => button.setAttribute("aria-pressed", options[i][0] === value));
    },
  };
}

/** A canvas of CSS pixels on any screen; returns the context and both sizes. */
function clean(canvas) {
  const ratio = window.devicePixelRatio || 1;
  const { clientWidth: width, clientHeight: height } = canvas;
  canvas.width = Math.round(width * ratio);
  canvas.height = Math.round(height * ratio);
  const context = canvas.getContext("2d");
  context.scale(ratio, ratio);
  return [context, width, height];
}

/** The colors of the theme as a canvas wants them: palette(el).blue. */
function palette(el) {
  const style = getComputedStyle(el);
  const probe = h("i", { hidden: true });
  el.append(probe);
  const colors = {};
  for (const name of ["ink", "muted", "ground", "rule", "panel", "blue", "orange", "tint", "warm"]) {
    probe.style.color = `var(--ex-${name})`;
    colors[name] = getComputedStyle(probe).color;
  }
  probe.remove();
  return Object.assign(colors, { font: style.fontFamily });
}

/** Wait until the reader comes near. */
const approached = (frame) => new Promise((near) => {
  const seen = new IntersectionObserver((entries) => {
    if (!entries.some((entry) => entry.isIntersecting)) return;
    seen.disconnect();
    near();
  }, { rootMargin: "600px" });
  seen.observe(frame);
});

/** A large file: a script, since file:// lets a page read no other. */
async function load(file) {
  const src = `${document.documentElement.dataset.content_root ?? ""}_static/explorers/${file}`;
  await new Promise((onload, bad) => {
    document.head.append(h("script", { src, onload, onerror: () => bad(new Error(`${src} is missing`)) }));
  });
  return globalThis.explorerFiles[file];
}

/** In the static book: a model without a kernel, whose state stands in the address. */
async function mount(render, name) {
  const frames = [...document.querySelectorAll(`[data-explorer="${name}"]`)];
  const frame = frames.find((box) => !("live" in box.dataset));
  if (!frame) return;
  frame.dataset.live = "";
  const { state, data } = JSON.parse(frame.querySelector("script").textContent);
  const values = { ...state, _data: data };
  const listeners = {};
  const changed = new Set();
  const model = {
    get: (key) => values[key],
    set(key, value) {
      if (values[key] === value) return;
      values[key] = value;
      changed.add(key);
      for (const listener of listeners[`change:${key}`] ?? []) listener();
    },
    save_changes() {
      if (changed.size) setTimeout(write, 200);
      changed.clear();
    },
    on(event, listener) { (listeners[event] ??= new Set()).add(listener); },
    off(event, listener) { listeners[event]?.delete(listener); },
  };
  const first = frames.indexOf(frame) === 0;
  function write() {
    const address = new URLSearchParams({ explorer: name });
    for (const key of Object.keys(state)) {
      if (values[key] !== state[key]) address.set(key, values[key]);
    }
    if (first) history.replaceState(history.state, "", `#${address}`);
  }
  function read() {
    const address = new URLSearchParams(location.hash.slice(1));
    if (!first || address.get("explorer") !== name) return;
    for (const [key, start] of Object.entries(state)) {
      if (!address.has(key)) { model.set(key, start); continue; }
      const text = address.get(key);
      const limits = data.limits[key];
      let value = text === "true";
      if (limits?.oneOf) value = limits.oneOf.find((one) => `${one}` === text);
      else if (Array.isArray(start)) {
        value = text.split(",").slice(0, data.most).map((part) => clamp(Number(part), limits));
        if (value.some(Number.isNaN)) continue;
      } else if (limits) {
        value = clamp(Number(text), limits);
        if (limits.length === 2) value = Math.round(value); // a third number: not only whole ones
      }
      if (value === undefined || Number.isNaN(value)) continue;
      model.set(key, value);
    }
    changed.clear();
    show();
    return true;
  }
  const show = () => frame.scrollIntoView({ block: "start", behavior: "instant" });
  const el = h("div");
  addEventListener("hashchange", read);
  const named = read();
  if (named) addEventListener("load", show); // what stands above may still have grown
  if (!named) await approached(frame);
  if (data.file) data.more = await load(data.file);
  const still = [...frame.childNodes];
  frame.replaceChildren(el);
  try {
    await render({ model, el });
  } catch (error) { // the picture that was there says more than half an explorer
    frame.replaceChildren(...still);
    throw error;
  }
}
// common: end

const KEYS = ["units", "scale", "activation", "norm", "shortcut"];

/** Medians of log10 |product of factors| over chains of numbers, as course_lib's chain. */
function chain(weights, units, scale, slope) {
  const middle = (values) => {
    const sorted = [...values].sort((a, b) => a - b);
    const half = sorted.length >> 1;
    return sorted.length % 2 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2;
  };
  const found = {};
  for (const [name, shortcut] of [["plain", 0], ["residual", 1]]) {
    const logs = weights.map((w) => {
      const powers = [0];
      for (let unit = units - 1; unit >= 0; unit--) {
        const factor = shortcut + w[2 * unit] * w[2 * unit + 1] * (scale * slope) ** 2;
        powers.unshift(powers[0] + Math.log10(Math.max(Math.abs(factor), 1e-12)));
      }
      return powers;
    });
    found[name] = logs[0].map((_, i) => middle(logs.map((powers) => powers[i])));
  }
  return found;
}

function render({ model, el }) {
  const { limits, weights, slopes, measured } = model.get("_data");
  const set = (values) => update(model, values);
  const scales = limits.scale.oneOf;
  const units = choice("units", limits.units.oneOf.map((n) => [n, `${n}`]), (value) => set({ units: value }));
  const activation = choice("activation", limits.activation.oneOf.map((n) => [n, n]), (value) => set({ activation: value }));
  const shortcut = choice("shortcut", [["both", "both"], ["off", "off"], ["on", "on"]], (value) => set({ shortcut: value }));
  const norm = h("input", { type: "checkbox", onchange: () => set({ norm: norm.checked }) });
  const slider = h("input", { type: "range", min: 0, max: scales.length - 1, step: 1, oninput: () => set({ scale: scales[slider.value] }) });
  const factor = h("b");
  const charts = [["one number per layer", "the scalar argument"], ["real networks", "measured"]].map(([title, how]) => ({
    title: h("p", {}, h("b", {}, title), " ", h("small", {}, how)),
    svg: h("svg:svg", { role: "img" }),
  }));
  const says = h("p", { class: "ex-says", role: "status" });
  const power = (v) => (Math.abs(v) < 0.05 ? "1" : Math.abs(v) < 1 ? (10 ** v).toFixed(v < 0 ? 2 : 1) : `10^${v.toFixed(1)}`);
  const shown = (text) => text.split("^").flatMap((part, i) => (i ? h("sup", {}, part.replace("-", "−")) : part));

  el.classList.add("explorer", "explorer-gradients");
  el.append(
    h("style", {}, `
      .explorer-gradients .ex-charts { display: grid; grid-template-columns: 1fr 1fr; gap: 0.6rem 1.2rem; margin: 0.7rem 0 0.4rem; }
      .explorer-gradients svg { width: 100%; height: auto; overflow: visible; }
      .explorer-gradients svg text { fill: var(--ex-muted); font: 12px var(--pst-font-family-base, system-ui, sans-serif); }
      .explorer-gradients svg text.way { fill: var(--ex-ink); }
      .explorer-gradients .ex-controls { display: flex; flex-wrap: wrap; gap: 0.4rem 1.5rem; align-items: center; }
      .explorer-gradients .ex-scale { display: grid; grid-template-columns: max-content 9rem 5rem; gap: 0.7rem; align-items: center; }
      .explorer-gradients sup { font-size: 0.75em; line-height: 0; }
      .explorer-gradients table { margin: 0.5rem 0; width: 100%; font-size: 0.95em; border-collapse: collapse; font-variant-numeric: tabular-nums; }
      .explorer-gradients :is(th, td) { padding: 0.25rem 0.5rem 0.25rem 0; border: 0; border-bottom: 1px solid var(--ex-rule); text-align: left; font-weight: 400; }
      .explorer-gradients thead th { color: var(--ex-muted); }
      .explorer-gradients .ex-says { min-height: 4.4em; }
      @container (max-width: 560px) {
        .explorer-gradients .ex-charts { grid-template-columns: 1fr; }
        .explorer-gradients .ex-says { min-height: 7.3em; }
      }`),
    h("div", { class: "ex-head" }, h("p", { class: "ex-title" }, "How much of the gradient arrives?"), units.box),
    h("div", { class: "ex-controls" }, activation.box, h("label", {}, norm, "batch normalization"), shortcut.box,
      h("label", { class: "ex-scale" }, h("span", {}, "weights"), slider, factor)),
    h("div", { class: "ex-charts" }, charts.map(({ title, svg }) => h("div", {}, title, svg))),
    h("div", { class: "ex-key" },
      h("span", {}, h("i", { style: "background: var(--ex-orange); border-radius: 50%" }), "plain"),
      h("span", {}, h("i", { style: "background: var(--ex-blue)" }), "residual: with shortcuts"),
      h("span", {}, "the axis counts powers of ten")),
    says);

  const line = (x1, y1, x2, y2, stroke, more = {}) => h("svg:line", { x1, y1, x2, y2, stroke, ...more });

  function plot(svg, curves, span, n, name) {
    const width = 320;
    const height = 230;
    const [left, right, top, bottom] = [44, 8, 12, 186];
    const x = (i) => left + i / n * (width - left - right);
    const [low, high] = span;
    const y = (v) => top + (high - v) / (high - low) * (bottom - top);
    svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    const ends = Object.entries(curves).map(([kind, values]) => `${kind} ${power(values[0])}`).join(", ");
    svg.setAttribute("aria-label", `${name}: gradient in front of the first of ${n} units, where 1 arrives at the last: ${ends}.`);
    const parts = [];
    // The middle ones only where their words have room.
    const ticks = [0, low, high, low / 2, high / 2].filter((v, i, all) => all.slice(0, i).every((u) => Math.abs(y(u) - y(v)) > 17));
    for (const v of ticks) {
      parts.push(line(left, y(v), width - right, y(v), v ? "var(--ex-rule)" : "var(--ex-edge)"));
      const label = h("svg:text", { x: left - 6, y: y(v) + 4, "text-anchor": "end" });
      if (v) label.append("10", h("svg:tspan", { dy: -5, "font-size": "10px" }, `${v}`.replace("-", "−")));
      else label.append("1");
      parts.push(label);
    }
    for (let i = 0; i <= n; i += Math.max(1, n / 4)) {
      parts.push(h("svg:text", { x: x(i), y: bottom + 16, "text-anchor": i === n ? "end" : "middle" }, i === n ? "output" : `${i + 1}`));
    }
    parts.push(h("svg:text", { class: "way", x: (left + width - right) / 2, y: bottom + 38, "text-anchor": "middle" }, "◀ the gradient travels from unit to unit"));
    for (const [kind, values] of Object.entries(curves)) {
      const color = kind === "plain" ? "var(--ex-orange)" : "var(--ex-blue)";
      parts.push(h("svg:polyline", { points: values.map((v, i) => `${x(i)},${y(v)}`).join(" "), fill: "none", stroke: color, "stroke-width": 2 }));
      const size = n > 16 ? 2.6 : 4;
      for (const [i, v] of values.entries()) {
        parts.push(kind === "plain" ? h("svg:circle", { cx: x(i), cy: y(v), r: size, fill: color })
          : h("svg:rect", { x: x(i) - size, y: y(v) - size, width: 2 * size, height: 2 * size, fill: color }));
      }
    }
    svg.replaceChildren(...parts);
  }

  function draw() {
    const s = Object.fromEntries(KEYS.map((key) => [key, model.get(key)]));
    units.show(s.units);
    activation.show(s.activation);
    shortcut.show(s.shortcut);
    norm.checked = s.norm;
    slider.value = scales.indexOf(s.scale);
    slider.setAttribute("aria-valuetext", `${s.scale} times`);
    factor.textContent = s.scale === 1 ? "× 1 (He)" : `× ${s.scale}`;
    const scalar = chain(weights, s.units, s.scale, slopes[s.activation]);
    const [plain, residual] = measured[s.activation][Number(s.norm)][s.units][s.scale];
    const real = { plain, residual };
    const keep = (curves) => (s.shortcut === "both" ? curves : s.shortcut === "off" ? { plain: curves.plain } : { residual: curves.residual });
    const all = [scalar, real].flatMap((curves) => Object.values(keep(curves)).flat());
    const nice = (v) => [0, 2, 4, 8, 16, 32, 64, 128, 256].find((limit) => limit >= v - 0.4);
    const span = [-nice(-Math.min(...all)), nice(Math.max(...all))];
    if (span[0] === span[1]) span[1] = 2;
    plot(charts[0].svg, keep(scalar), span, s.units, "The scalar argument");
    plot(charts[1].svg, keep(real), span, s.units, "Real networks");
    const tell = (curves) => Object.entries(keep(curves)).map(([kind, values]) => [`${kind} `, h("b", {}, shown(power(values[0])))]);
    const join = (parts) => parts.flatMap((part, i) => (i ? [", ", ...part] : part));
    says.replaceChildren(`A gradient that has length 1 at the output has, ${plural(s.units, "unit")} before it, the length: in real networks, `,
      ...join(tell(real)), "; by the scalar argument, ", ...join(tell(scalar)), ". ",
      s.norm ? "The scalar argument knows nothing of batch normalization, which takes the scale of the weights away." : "");
  }

  return watch(model, KEYS, el, draw);
}

export { chain };
export default { render };
