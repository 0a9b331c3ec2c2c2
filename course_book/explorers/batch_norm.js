// Batch normalization: a batch's values, their mean and spread, and what a layer remembers.
// common.js

const KEYS = ["values", "gamma", "beta", "mode", "running_mean", "running_var", "seen"];

/** One channel through BN, as torch.nn.BatchNorm; the memory after a train step, too. */
function normalize(values, gamma, beta, mode, runningMean, runningVar, eps, momentum) {
  const m = values.length;
  const mean = values.reduce((a, b) => a + b, 0) / m;
  const variance = values.reduce((a, v) => a + (v - mean) ** 2, 0) / m;
  const train = mode === "train";
  const usedMean = train ? mean : runningMean;
  const usedVar = train ? variance : runningVar;
  const normalized = values.map((v) => (v - usedMean) / Math.sqrt(usedVar + eps));
  const learns = train && m > 1; // torch refuses a single value
  return {
    mean, variance, usedMean, usedVar, normalized,
    output: normalized.map((v) => gamma * v + beta),
    nextMean: learns ? (1 - momentum) * runningMean + momentum * mean : runningMean,
    nextVar: learns ? (1 - momentum) * runningVar + momentum * variance * m / (m - 1) : runningVar,
  };
}

function render({ model, el }) {
  const data = model.get("_data");
  const { limits, eps, momentum, noise, source, most } = data;
  const [LOW, HIGH] = limits.values;
  const set = (values) => update(model, values);
  const short = (v) => { const text = v.toFixed(2); return text === "-0.00" ? "0.00" : text.replace("-", "−"); };
  const round = (v) => Math.round(v * 100) / 100;
  let history = [];

  const mode = choice("mode", [["train", "train"], ["eval", "eval"]], (value) => set({ mode: value }));
  const gamma = numberField("γ", "scale", limits.gamma, (value) => set({ gamma: value }), 0.1);
  const beta = numberField("β", "shift", limits.beta, (value) => set({ beta: value }), 0.1);
  const count = numberField("m", "values", [1, most], (m) => {
    const old = model.get("values");
    set({ values: Array.from({ length: m }, (_, i) => old[i] ?? fresh(model.get("seen"))[i]) });
  });
  const fresh = (turn) => noise[turn % noise.length].map((v) => round(clamp(source.mean + source.deviation * v, limits.values)));
  const now = () => Object.fromEntries(KEYS.map((key) => [key, model.get(key)]));
  const compute = (s) => normalize(s.values, s.gamma, s.beta, s.mode, s.running_mean, s.running_var, eps, momentum);

  function next(times) {
    let state = now();
    for (let i = 0; i < times; i++) {
      const result = compute(state);
      const learned = state.mode === "train" && state.values.length > 1;
      const seen = state.seen + 1;
      if (learned) history.push([result.mean, result.nextMean]);
      state = { ...state, running_mean: result.nextMean, running_var: result.nextVar, seen: seen > limits.seen[1] ? 0 : seen,
        values: fresh(seen).slice(0, state.values.length) };
    }
    set({ ...state, running_mean: clamp(state.running_mean, limits.running_mean), running_var: clamp(state.running_var, limits.running_var) });
  }
  const button = (text, act) => h("button", { type: "button", onclick: act }, text);
  const one = button("", () => next(1));
  const ten = button("", () => next(10));
  const buttons = h("div", { class: "ex-row ex-steps" }, one, ten,
    button("forget", () => { history = []; set({ running_mean: 0, running_var: 1, seen: 0 }); }));
  const lanes = h("svg:svg", { class: "ex-lanes", role: "group", "aria-label": "Three number lines: the values, the values normalized, the output" });
  const memory = h("svg:svg", { class: "ex-history", role: "img" });
  const sums = h("p", { class: "ex-result" });
  const says = h("p", { class: "ex-says", role: "status" });

  el.classList.add("explorer", "explorer-bn");
  el.append(
    h("style", {}, `
      .explorer-bn svg { display: block; width: 100%; height: auto; overflow: visible; }
      .explorer-bn text { fill: var(--ex-ink); font: 13px var(--pst-font-family-base, system-ui, sans-serif); }
      .explorer-bn text.soft { fill: var(--ex-muted); font-size: 12px; }
      .explorer-bn .dot { cursor: grab; touch-action: none; }
      .explorer-bn .dot:focus { outline: none; }
      .explorer-bn .dot:focus-visible circle:last-child { stroke: var(--ex-ink); stroke-width: 3; }
      .explorer-bn .ex-fields { margin: 0.6rem 0; }
      .explorer-bn .ex-says { min-height: 4.4em; }
      .explorer-bn .ex-result { min-height: 5.6rem; }
      .explorer-bn .ex-result span { display: block; }
      .explorer-bn .ex-steps { margin: 0.4rem 0 0.6rem; }
      @container (max-width: 560px) { .explorer-bn .ex-says { min-height: 7.3em; } .explorer-bn .ex-result { min-height: 8.2rem; } }`),
    h("div", { class: "ex-head" }, h("p", { class: "ex-title" }, "Normalize a batch: drag the values"), mode.box),
    lanes,
    h("div", { class: "ex-key" },
      h("span", {}, h("i", { style: "background: var(--ex-blue)" }), "a value of the batch"),
      h("span", {}, h("i", { style: "background: var(--ex-warm); border-color: var(--ex-orange)" }), "mean ± deviation of this batch"),
      h("span", {}, h("i", { style: "border: 2px dashed var(--ex-ink)" }), "the same, remembered")),
    h("div", { class: "ex-fields" }, gamma.box, beta.box, count.box),
    sums, buttons, memory, says);

  let grabbed = -1;
  const LANE = 82;
  const up = (i) => ((i % 3) - 1) * 9; // neighbors do not hide each other
  const PAD = 14;
  let width = 600;
  const x = (v) => PAD + (clamp(v, [LOW - 0.6, HIGH + 0.6]) - LOW) / (HIGH - LOW) * (width - 2 * PAD);
  const value = (px) => round(clamp(LOW + (px - PAD) / (width - 2 * PAD) * (HIGH - LOW), limits.values));
  const move = (i, v) => set({ values: model.get("values").map((old, j) => (j === i ? round(clamp(v, limits.values)) : old)) });
  lanes.addEventListener("pointermove", (event) => {
    if (grabbed < 0) return;
    move(grabbed, value(event.clientX - lanes.getBoundingClientRect().left));
  });
  const drop = () => { grabbed = -1; };
  lanes.addEventListener("pointerup", drop);
  lanes.addEventListener("pointercancel", drop);
  const dots = [];
  const dot = (i) => h("svg:g", { class: "dot", tabindex: 0, role: "slider", "aria-label": `value ${i + 1}`, "aria-valuemin": LOW, "aria-valuemax": HIGH,
    onpointerdown(event) { grabbed = i; lanes.setPointerCapture(event.pointerId); dots[i].focus(); event.preventDefault(); },
    onkeydown(event) {
      const step = { ArrowRight: 0.1, ArrowUp: 0.1, ArrowLeft: -0.1, ArrowDown: -0.1, PageUp: 1, PageDown: -1 }[event.key];
      if (step === undefined) return;
      event.preventDefault();
      move(i, model.get("values")[i] + step);
    } }, h("svg:circle", { r: 15, fill: "transparent" }), h("svg:circle", { r: 8, fill: "var(--ex-blue)", stroke: "var(--ex-ground)", "stroke-width": 1.5 }));

  const line = (x1, y1, x2, y2, stroke, more = {}) => h("svg:line", { x1, y1, x2, y2, stroke, ...more });
  const words = (px, py, text, more = {}) => h("svg:text", { x: px, y: py, ...more }, text);

  function lane(index, name, values, mean, deviation, memoryOf) {
    const y = 40 + index * LANE;
    const parts = [];
    const from = x(mean - deviation);
    parts.push(h("svg:rect", { x: from, y: y - 18, width: Math.max(1, x(mean + deviation) - from), height: 36, fill: "var(--ex-warm)", stroke: "var(--ex-orange)", "stroke-width": 0.8 }));
    if (memoryOf) {
      const left = x(memoryOf[0] - memoryOf[1]);
      parts.push(h("svg:rect", { x: left, y: y - 22, width: Math.max(1, x(memoryOf[0] + memoryOf[1]) - left), height: 44, fill: "none", stroke: "var(--ex-ink)", "stroke-width": 1.6, "stroke-dasharray": "5 4" }));
    }
    parts.push(line(x(LOW), y, x(HIGH), y, "var(--ex-edge)"));
    for (let tick = LOW; tick <= HIGH; tick++) {
      parts.push(line(x(tick), y - 3, x(tick), y + 3, "var(--ex-edge)"));
      if (tick % 2 === 0) parts.push(words(x(tick), y + 36, `${tick}`.replace("-", "−"), { class: "soft", "text-anchor": "middle" }));
    }
    parts.push(line(x(mean), y - 19, x(mean), y + 19, "var(--ex-orange)", { "stroke-width": 2.5 }));
    parts.push(words(PAD, y - 25, name));
    if (index) parts.push(...values.map((v, i) => h("svg:circle", { cx: x(v), cy: y + up(i), r: 6.5, fill: "var(--ex-blue)", stroke: "var(--ex-ground)", "stroke-width": 1.5 })));
    return parts;
  }

  function spread(values) {
    const mean = values.reduce((a, b) => a + b, 0) / values.length;
    return [mean, Math.sqrt(values.reduce((a, v) => a + (v - mean) ** 2, 0) / values.length)];
  }

  function draw() {
    const s = now();
    const result = compute(s);
    const train = s.mode === "train";
    const single = s.values.length === 1;
    mode.show(s.mode);
    gamma.show(s.gamma);
    beta.show(s.beta);
    count.show(s.values.length);
    width = Math.max(280, lanes.clientWidth);
    const height = 40 + 2 * LANE + 38;
    lanes.setAttribute("viewBox", `0 0 ${width} ${height}`);
    while (dots.length < s.values.length) dots.push(dot(dots.length));
    const focused = dots.indexOf(document.activeElement);
    const back = [];
    for (let i = 0; i < s.values.length; i++) {
      const places = [s.values, result.normalized, result.output].map((list, lane) => [x(list[i]), 40 + lane * LANE + up(i)]);
      for (const [a, b] of [[0, 1], [1, 2]]) back.push(line(...places[a], ...places[b], "var(--ex-edge)", { "stroke-width": 0.9 }));
    }
    const remembered = [s.running_mean, Math.sqrt(s.running_var)];
    lanes.replaceChildren(...back,
      ...lane(0, "z, the batch", s.values, result.mean, Math.sqrt(result.variance), remembered),
      ...lane(1, "ẑ, normalized", result.normalized, ...spread(result.normalized)),
      ...lane(2, "y = γ ẑ + β", result.output, ...spread(result.output)),
      ...dots.slice(0, s.values.length));
    s.values.forEach((v, i) => {
      dots[i].setAttribute("transform", `translate(${x(v)} ${40 + up(i)})`);
      dots[i].setAttribute("aria-valuenow", v);
    });
    if (focused >= 0) dots[focused]?.focus();
    const [mean, variance] = [result.usedMean, result.usedVar].map(short);
    sums.replaceChildren(
      h("span", {}, `this batch: mean μ = ${short(result.mean)}, variance σ² = ${short(result.variance)}`),
      h("span", {}, `remembered: mean ${short(s.running_mean)}, variance ${short(s.running_var)}`),
      h("span", {}, h("b", {}, train ? "train uses the batch: " : "eval uses the memory: "), `ẑ = (z − ${mean.startsWith("−") ? `(${mean})` : mean}) / √(${variance} + ε)`));
    one.textContent = train ? "train on this batch" : "next batch";
    ten.textContent = train ? "train on ten" : "ten further";
    const [outMean, outDeviation] = spread(result.output).map(short);
    says.textContent = single && train
      ? "One value: it is its own mean, the variance is 0, and the output is β wherever you drag it. PyTorch refuses such a batch in train mode."
      : `${train ? "Train" : "Eval"} mode: the output has mean ${outMean} and deviation ${outDeviation}` +
        (train ? `, which are β and |γ|, wherever the values lie. Every value depends on all the others.`
          : `. Each value goes its own way: move one, and the others stay. ${s.seen ? "" : "So far nothing is remembered: train first."}`);
    drawMemory(s);
  }

  function drawMemory({ running_mean: running, seen }) {
    const height = 96;
    memory.setAttribute("viewBox", `0 0 ${width} ${height}`);
    memory.setAttribute("aria-label", `The remembered mean after ${history.length} batches is ${short(running)}.`);
    const shown = history.slice(-60);
    const left = 96;
    const across = (i) => left + i / 60 * (width - left - 8);
    const level = (v) => 84 - (clamp(v, [-1, 5]) + 1) / 6 * 76;
    const points = [[0, shown.length === history.length ? 0 : null], ...shown.map(([, mean], i) => [i + 1, mean])].filter(([, v]) => v !== null);
    memory.replaceChildren(
      ...(shown.length ? [] : ["batch means", "and the remembered mean"].map((text, k) => words(left + 12, level(3 - 2 * k) + 4, text, { class: "soft" }))),
      words(0, 16, "the memory"), words(0, 34, "catches up", { class: "soft" }), words(0, 58, `${plural(seen, "batch", "batches")}`, { class: "soft" }),
      ...[0, 2, 4].map((v) => [line(left, level(v), width - 8, level(v), "var(--ex-rule)"), words(left - 6, level(v) + 4, `${v}`, { class: "soft", "text-anchor": "end" })]).flat(),
      ...shown.map(([mean], i) => h("svg:circle", { cx: across(i + 1), cy: level(mean), r: 3, fill: "var(--ex-orange)" })),
      h("svg:polyline", { points: points.map(([i, v]) => `${across(i)},${level(v)}`).join(" "), fill: "none", stroke: "var(--ex-ink)", "stroke-width": 2, "stroke-dasharray": "5 3" }));
  }

  return watch(model, KEYS, el, draw);
}

export { normalize };
export default { render };
