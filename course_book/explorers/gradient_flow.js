// Gradient flow: how large the gradient is in front of every unit, plain and residual.
// common.js

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
