// Backward through a convolution: what each input, or each weight, collects from δ.
// common.js

const KEYS = ["view", "size", "kernel", "stride", "padding", "dilation", "row", "column", "term"];
const SUM = 9; // a sum of more terms is not written out

/** Rows of the output; throws where torch refuses. */
function outputSize({ size: n, kernel: k, stride: s, padding: p, dilation: d }) {
  const room = n + 2 * p - d * (k - 1) - 1;
  if (room < 0) throw new RangeError(`The window spans ${plural(d * (k - 1) + 1, "row")}, but there are only ${n + 2 * p}, padding included.`);
  return Math.floor(room / s) + 1;
}

/** The kernel: 1, 2, 3, … row by row, so that its flip can be seen. */
const weights = (k) => Array.from({ length: k }, (_, i) => Array.from({ length: k }, (_, j) => i * k + j + 1));

/** Which δ[i][j] the flipped kernel finds for x[row][column], and which w[k][l] it has there. */
function collect(row, column, setting) {
  const { kernel, stride: s, padding: p, dilation: d } = setting;
  const out = outputSize(setting);
  const ring = d * (kernel - 1) - p; // P′
  const found = [];
  for (let a = 0; a < kernel; a++) {
    for (let b = 0; b < kernel; b++) {
      const [t, q] = [row + d * a - ring, column + d * b - ring]; // in δ with its zeros
      const [i, j] = [t / s, q / s];
      if (![i, j].every((at) => Number.isInteger(at) && at >= 0 && at < out)) continue;
      found.push({ i, j, k: kernel - 1 - a, l: kernel - 1 - b });
    }
  }
  return found;
}

/** Which x[u][v] the weight w[k][l] has met, and for which output; padding adds 0 and is left out. */
function met(k, l, setting) {
  const { size: n, stride: s, padding: p, dilation: d } = setting;
  const out = outputSize(setting);
  const found = [];
  for (let i = 0; i < out; i++) {
    for (let j = 0; j < out; j++) {
      const [u, v] = [s * i + d * k - p, s * j + d * l - p];
      if (u >= 0 && v >= 0 && u < n && v < n) found.push({ i, j, u, v });
    }
  }
  return found;
}

/** ∂L/∂x and ∂L/∂w, both as sums of the terms above. */
function gradients(setting, delta, x) {
  const w = weights(setting.kernel);
  const map = (rows, value) => Array.from({ length: rows }, (_, i) => Array.from({ length: rows }, (_, j) => value(i, j)));
  const sum = (terms, value) => terms.reduce((total, term) => total + value(term), 0);
  return {
    dx: map(setting.size, (i, j) => sum(collect(i, j, setting), (t) => delta[t.i][t.j] * w[t.k][t.l])),
    dw: map(setting.kernel, (k, l) => sum(met(k, l, setting), (t) => delta[t.i][t.j] * x[t.u][t.v])),
  };
}

const say = (number) => `${number}`.replace("-", "−");
const factor = (number) => (number < 0 ? `(${say(number)})` : `${number}`);

function render({ model, el }) {
  const { limits, presets, delta, x } = model.get("_data");
  const get = () => Object.fromEntries(KEYS.map((key) => [key, model.get(key)]));
  const set = (values) => { stop(); update(model, values); };
  let shown = null; // what the last picture shows, for keys and pointer
  let timer = 0;

  const fields = [
    ["size", "N", "input size"], ["kernel", "K", "kernel"], ["stride", "S", "stride"],
    ["padding", "P", "padding"], ["dilation", "D", "dilation"],
  ].map(([key, letter, hint]) => [key, numberField(letter, hint, limits[key], (value) => set({ [key]: value, term: 1 }))]);
  const view = choice("", [["input", "to the input"], ["weights", "to the weights"]],
    (value) => set({ view: value, row: 0, column: 0, term: 1 }), "Which gradient");
  const preset = h("select", { "aria-label": "Example", onchange() {
    const { label, ...values } = presets[preset.value] ?? {};
    if (label) set({ ...values, term: 1 });
  } }, h("option", { value: "own" }, "my own numbers"), presets.map(({ label }, i) => h("option", { value: i }, label)));

  const symbols = h("p", { class: "ex-muted" });
  const numbers = h("p");
  const says = h("p", { class: "ex-says", role: "status" });
  const names = [0, 1, 2].map(() => h("p"));
  const walk = h("canvas", { tabindex: 0, role: "application",
    "aria-label": "Arrow keys move the window, Home and End go to the first and the last place, Enter to the next term." });
  const result = h("canvas", { role: "img" });
  const forward = h("canvas", { role: "img" });

  const go = (row, column, term = 1) => {
    if (!shown) return;
    const at = (i) => clamp(i, [0, shown.rows - 1]);
    update(model, { row: at(row), column: at(column), term });
  };
  const place = (step) => {
    if (!shown) return;
    const { row, column, rows } = shown;
    const i = clamp(row * rows + column + step, [0, rows * rows - 1]);
    go(Math.floor(i / rows), i % rows);
  };
  const atEnd = () => !shown || (shown.row === shown.rows - 1 && shown.column === shown.rows - 1 && shown.term >= shown.terms.length);
  const term = (step) => {
    if (!shown) return;
    const to = shown.term + step;
    if (to >= 1 && to <= shown.terms.length) update(model, { term: to });
    else if (step > 0 && !atEnd()) place(1);
  };
  function stop() {
    clearInterval(timer);
    timer = 0;
    play.textContent = "Play";
  }
  const button = (text, name, act) => h("button", { type: "button", "aria-label": name, onclick: () => { stop(); act(); } }, text);
  const play = h("button", { type: "button", onclick() {
    if (timer) return stop();
    if (atEnd()) go(0, 0);
    play.textContent = "Pause";
    timer = setInterval(() => (el.isConnected && !atEnd() ? term(1) : stop()), 500);
  } }, "Play");
  const steps = h("div", { class: "ex-row ex-steps", role: "group", "aria-label": "Move the window" },
    button("First", "First place", () => go(0, 0)), button("◀", "Place before", () => place(-1)),
    button("▶", "Next place", () => place(1)), button("Last", "Last place", () => go(Infinity, Infinity)),
    button("− term", "One term less", () => term(-1)), button("+ term", "One term more", () => term(1)),
    reducedMotion() ? null : play);

  walk.addEventListener("keydown", (event) => {
    const { row, column } = shown ?? {};
    const to = { ArrowUp: [row - 1, column], ArrowDown: [row + 1, column], ArrowLeft: [row, column - 1],
      ArrowRight: [row, column + 1], Home: [0, 0], End: [Infinity, Infinity] }[event.key];
    if (!shown || event.ctrlKey || event.metaKey || event.altKey || !(to || event.key === "Enter")) return;
    event.preventDefault();
    stop();
    if (to) go(...to);
    else term(1);
  });
  [walk, result, forward].forEach((canvas, which) => {
    const move = (event) => {
      const at = shown?.places[which];
      if (!at || (event.type === "pointermove" && (!event.buttons || event.pointerType !== "mouse"))) return;
      const box = canvas.getBoundingClientRect();
      stop();
      go(...[event.clientY - box.top, event.clientX - box.left].map((c) => Math.round(at(c / shown.cells[which] - 0.5))));
    };
    canvas.addEventListener("click", move);
    canvas.addEventListener("pointermove", move);
  });

  el.classList.add("explorer", "explorer-conv-backward");
  el.append(
    h("style", {}, `
      .explorer-conv-backward .ex-panels { display: grid; grid-template-columns: minmax(0, 5fr) minmax(0, 2.9fr); gap: 0.6rem 1.4rem; }
      .explorer-conv-backward canvas { aspect-ratio: 1; cursor: crosshair; }
      .explorer-conv-backward .ex-side { display: grid; grid-template-rows: auto auto; align-content: start; gap: 0.6rem; }
      .explorer-conv-backward .ex-panels p { font-size: 0.9em; min-height: 1.5em; margin-bottom: 0.2rem; }
      .explorer-conv-backward .ex-result { min-height: 4.4rem; }
      .explorer-conv-backward .ex-muted { color: var(--ex-muted); }
      .explorer-conv-backward .ex-says { min-height: 4.4em; }
      .explorer-conv-backward .ex-fields { grid-template-columns: repeat(auto-fit, minmax(18rem, 1fr)); }
      .explorer-conv-backward .ex-steps { margin: 0.6rem 0; }
      .explorer-conv-backward .ex-steps button { padding-inline: 0.5rem; }
      @container (max-width: 560px) {
        .explorer-conv-backward .ex-panels { grid-template-columns: minmax(0, 1fr); }
        .explorer-conv-backward .ex-side { grid-template: auto / 1fr 1fr; }
          .explorer-conv-backward .ex-result { min-height: 5.8rem; }
        .explorer-conv-backward .ex-says { min-height: 7.3em; }
      }`),
    h("div", { class: "ex-head" }, h("p", { class: "ex-title" }, "A convolution, backward"), preset),
    h("div", { class: "ex-fields" }, fields.map(([, field]) => field.box), view.box),
    h("div", { class: "ex-result" }, symbols, numbers),
    h("div", { class: "ex-panels" },
      h("div", {}, names[0], walk),
      h("div", { class: "ex-side" }, h("div", {}, names[1], result), h("div", {}, names[2], forward))),
    h("div", { class: "ex-key" },
      h("span", {}, h("i", { style: "background: var(--ex-tint)" }), "numbers of δ"),
      h("span", {}, h("i", { style: "background: var(--ex-blue)" }), "under the window"),
      h("span", {}, h("i", { style: "border: 2px solid var(--ex-orange)" }), "this term"),
      h("span", {}, h("i", { class: "ex-hatch" }), "read by no window")),
    steps, says);

  function draw() {
    const state = get();
    const { size: n, kernel: k, stride: s, padding: p, dilation: d } = state;
    for (const [key, field] of fields) field.show(state[key]);
    view.show(state.view);
    const found = presets.findIndex(({ label, row, column, ...values }) => Object.entries(values).every(([key, value]) => state[key] === value));
    preset.value = found < 0 ? "own" : found;
    let out;
    try {
      out = outputSize(state);
    } catch (error) {
      shown = null;
      symbols.textContent = says.textContent = "";
      names.forEach((name) => { name.textContent = ""; });
      numbers.replaceChildren(h("b", { class: "ex-orange" }, `No output. ${error.message}`));
      [walk, result, forward].forEach(clean);
      return;
    }
    const toInput = state.view === "input";
    const rows = toInput ? n : k;
    const [row, column] = [state.row, state.column].map((i) => Math.min(i, rows - 1));
    const terms = toInput ? collect(row, column, state) : met(row, column, state);
    const count = Math.min(state.term, terms.length);
    shown = { row, column, rows, terms, term: count, cells: [], places: [] };
    const w = weights(k);
    const parts = terms.map((t) => (toInput ? [delta[t.i][t.j], w[t.k][t.l]] : [delta[t.i][t.j], x[t.u][t.v]]));
    const add = (list) => list.reduce((total, [a, b]) => total + a * b, 0);
    write(state, out, parts, add);
    paint(state, out, gradients(state, delta, x), w);
  }

  function write({ view: kind, kernel: k, stride: s, padding: p, dilation: d }, out, parts, add) {
    const { row, column, terms, term: count } = shown;
    const total = add(parts);
    const toInput = kind === "input";
    const what = `${toInput ? "∂L/∂x" : "∂L/∂w"}[${row}, ${column}]`;
    symbols.textContent = toInput ? `flipped kernel over δ, ${s > 1 ? plural(s - 1, "zero") + " between" : "no zeros between"}; P′ = D·(K − 1) − P = ${say(d * (k - 1) - p)}`
      : `δ as a kernel over x, its numbers ${plural(s, "place")} apart`;
    const sum = parts.length > SUM ? [`${parts.length} products`]
      : parts.map(([a, b], i) => h(i < count ? "span" : "small", i === count - 1 ? { class: "ex-orange" } : {}, `${i ? " + " : ""}${i ? factor(a) : say(a)} · ${factor(b)}`));
    const soFar = count < parts.length ? `; so far ${say(add(parts.slice(0, count)))}` : "";
    numbers.replaceChildren(`${what} = `, ...sum, parts.length ? " = " : "", h("b", { class: "ex-blue" }, say(total)), soFar);
    const now = terms[count - 1];
    if (!now) {
      says.textContent = toInput ? `x[${row}, ${column}] was read by no window, so its gradient is 0, whatever δ is.`
        : `w[${row}, ${column}] has met nothing but padding, so its gradient is 0.`;
    } else if (toInput) {
      const wrong = terms.reduce((sofar, t) => sofar + delta[t.i][t.j] * weights(k)[k - 1 - t.k][k - 1 - t.l], 0);
      says.textContent = `x[${row}, ${column}] was read by ${plural(terms.length, "window")}. Term ${count}: the window of output [${now.i}, ${now.j}] met it with w[${now.k}, ${now.l}] = ${weights(k)[now.k][now.l]}, ` +
        `and δ[${now.i}, ${now.j}] = ${say(delta[now.i][now.j])} comes back.` + (k > 1 ? ` With the kernel not flipped the sum would be ${say(wrong)}.` : "");
    } else {
      says.textContent = `w[${row}, ${column}] was used at ${plural(out * out, "place")}, at ${terms.length} of them inside the input. ` +
        `Term ${count}: for output [${now.i}, ${now.j}] it met x[${now.u}, ${now.v}] = ${say(x[now.u][now.v])}, and δ[${now.i}, ${now.j}] = ${say(delta[now.i][now.j])} comes back.`;
    }
  }

  function paint({ view: kind, size: n, kernel: k, stride: s, padding: p, dilation: d }, out, found, w) {
    const color = palette(el);
    const { row, column, rows, terms, term: count } = shown;
    const now = terms[count - 1];
    const toInput = kind === "input";
    const ring = d * (k - 1) - p;
    const rest = (n + 2 * p - d * (k - 1) - 1) % s;
    const inner = (out - 1) * s + 1; // rows of δ with its zeros
    const between = (i, j, size) => i >= 0 && j >= 0 && i < size && j < size;
    const sides = (values) => ({ text: say(values), fill: color.tint });
    const zero = (inside) => ({ text: "0", fill: color.ground, faint: true, dash: !inside });
    const padded = (i, j, fill) => (between(i, j, n) ? { text: say(x[i][j]), fill } : zero(false));

    names[1].textContent = toInput ? `∂L/∂x, ${n} × ${n}` : `∂L/∂w, ${k} × ${k}`;
    const values = toInput ? found.dx : found.dw;
    const holes = toInput ? values.map((line, i) => line.map((_, j) => !collect(i, j, { size: n, kernel: k, stride: s, padding: p, dilation: d }).length)) : null;
    grid(1, result, 0, rows, (i, j) => ({ text: say(values[i][j]), fill: color.ground, hatch: holes?.[i][j], mark: i === row && j === column }));
    shown.places[1] = (at) => at;
    result.setAttribute("aria-label", `${names[1].textContent}: row ${row}, column ${column} is marked. Rows: ${values.map((line) => line.map(say).join(" ")).join("; ")}.`);

    if (toInput) {
      names[0].textContent = "flipped kernel over δ with its zeros";
      const low = Math.min(-ring, 0);
      const total = Math.max(n - 1 + p, inner - 1) - low + 1;
      const weight = (i, j) => {
        const [a, b] = [(i - row + ring) / d, (j - column + ring) / d];
        return Number.isInteger(a) && Number.isInteger(b) && between(a, b, k) ? w[k - 1 - a][k - 1 - b] : null;
      };
      grid(0, walk, low, total, (i, j) => {
        const real = between(i, j, inner) && i % s === 0 && j % s === 0;
        const under = weight(i, j);
        return { ...(real ? sides(delta[i / s][j / s]) : zero(between(i, j, inner + rest))), times: under,
          mark: now && i === now.i * s && j === now.j * s };
      }, [row - ring, column - ring, d * (k - 1) + 1]);
      shown.places[0] = (at) => at + low + ring - (d * (k - 1)) / 2;

      names[2].textContent = now ? `forward, output [${now.i}, ${now.j}]` : "forward: x";
      const start = now && [now.i * s - p, now.j * s - p];
      grid(2, forward, -p, n + 2 * p, (i, j) => {
        const [a, b] = now ? [(i - start[0]) / d, (j - start[1]) / d] : [-1, -1];
        const under = Number.isInteger(a) && Number.isInteger(b) && between(a, b, k);
        return { text: under ? say(w[a][b]) : "", fill: under ? color.blue : between(i, j, n) ? color.panel : color.ground,
          dash: !between(i, j, n), light: under, mark: i === row && j === column };
      }, now && [...start, d * (k - 1) + 1]);
      shown.places[2] = (at) => at - p;
      forward.setAttribute("aria-label", now ? `The input with its padding; the kernel, not flipped, stands where it made output row ${now.i}, column ${now.j}.` : "The input; no window reads the marked place.");
    } else {
      names[0].textContent = "δ with gaps, over x and its padding";
      const corner = [d * row - p, d * column - p];
      const total = Math.max(n + 2 * p, d * (k - 1) + inner);
      const back = (i, j) => {
        const [a, b] = [(i - corner[0]) / s, (j - corner[1]) / s];
        return Number.isInteger(a) && Number.isInteger(b) && between(a, b, out) ? delta[a][b] : null;
      };
      grid(0, walk, -p, total, (i, j) => ({ ...padded(i, j, color.panel), times: back(i, j), mark: now && i === now.u && j === now.v }),
        [...corner, inner]);
      shown.places[0] = (at) => (at - (inner - 1) / 2) / d;
      names[2].textContent = `δ, ${out} × ${out}`;
      grid(2, forward, 0, out, (i, j) => ({ ...sides(delta[i][j]), mark: now && i === now.i && j === now.j }));
      forward.setAttribute("aria-label", `The gradient at the output, ${out} × ${out}${now ? `; row ${now.i}, column ${now.j} is marked` : ""}.`);
    }

    /** Squares from low on, each as look(i, j) says; box outlines a window: row, column, rows. */
    function grid(which, canvas, low, total, look, box) {
      const [c, width] = clean(canvas);
      const cell = (width - 4) / Math.max(total, 3);
      shown.cells[which] = cell;
      const at = (i) => 2 + (i - low) * cell;
      const put = (text, place, y, part, most) => {
        c.font = `${Math.min(most, part * cell, (1.6 * cell) / text.length)}px ${color.font}`;
        c.fillText(text, place + cell / 2, y);
      };
      c.textAlign = "center";
      c.textBaseline = "middle";
      for (let i = low; i < low + total; i++) {
        for (let j = low; j < low + total; j++) {
          const { text, fill, faint, dash, hatch, times, light, mark } = look(i, j);
          const [left, top] = [at(j), at(i)];
          c.fillStyle = fill;
          c.fillRect(left + 1, top + 1, cell - 2, cell - 2);
          if (times != null) {
            c.fillStyle = color.blue;
            c.fillRect(left + 1, top + cell * 0.52, cell - 2, cell * 0.48 - 1);
          }
          if (hatch) {
            c.strokeStyle = color.orange;
            c.lineWidth = 1.2;
            c.beginPath();
            for (let part = 0.25; part < 1; part += 0.25) {
              c.moveTo(left + part * cell, top + 2); c.lineTo(left + 2, top + part * cell);
              c.moveTo(left + cell - 2, top + part * cell); c.lineTo(left + part * cell, top + cell - 2);
            }
            c.stroke();
          }
          c.lineWidth = 1;
          c.strokeStyle = dash ? color.muted : color.rule;
          c.setLineDash(dash ? [2, 2] : []);
          c.strokeRect(left + 1, top + 1, cell - 2, cell - 2);
          c.setLineDash([]);
          c.fillStyle = light ? color.ground : faint ? color.muted : color.ink;
          const two = times != null;
          if (!hatch || mark) put(text, left, top + cell * (two ? 0.29 : 0.53), two ? 0.42 : 0.48, 17);
          if (two) {
            c.fillStyle = color.ground;
            put(`·${times < 0 ? `(${say(times)})` : times}`, left, top + cell * 0.77, 0.42, 15);
          }
        }
      }
      const outline = (i, j, side, stroke, line) => {
        c.strokeStyle = stroke;
        c.lineWidth = line;
        c.strokeRect(at(j) + 1, at(i) + 1, side * cell - 2, side * cell - 2);
      };
      if (box) outline(...box, color.blue, 2.5);
      for (let i = low; i < low + total; i++) for (let j = low; j < low + total; j++) if (look(i, j).mark) outline(i, j, 1, color.orange, 3);
    }
  }

  const unwatch = watch(model, KEYS, el, draw);
  return () => { stop(); unwatch(); };
}

export { collect, gradients, met, outputSize };
export default { render };
