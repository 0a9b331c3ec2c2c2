// Convolution arithmetic: a window moves over a padded grid and makes a smaller one.
// common.js

const KEYS = ["size", "kernel", "stride", "padding", "dilation", "kind", "ceil_mode", "row", "column"];
const FITS = 24; // up to so many rows, the grid is drawn whole

/** Rows that come out; throws where course_lib.dimensions and torch refuse. */
function outputSize(n, k, s, p, d = 1, kind = "conv", ceil = false) {
  const extent = d * (k - 1) + 1;
  const room = n + 2 * p - extent;
  if (kind === "pool" && p > Math.floor(k / 2)) {
    throw new RangeError(`In pooling the padding is at most half the kernel: with K = ${k}, P is at most ${Math.floor(k / 2)}.`);
  }
  if (ceil && kind !== "pool") throw new RangeError("Only pooling can round up.");
  if (room < 0 && !ceil) {
    throw new RangeError(`The window spans ${plural(extent, "row")}, but there are only ${n + 2 * p}, padding included.`);
  }
  if (!ceil) return Math.floor(room / s) + 1;
  let out = Math.ceil(room / s) + 1;
  if ((out - 1) * s >= n + p) out -= 1; // the last window would start in the padding
  if (out < 1) throw new RangeError("The size is too small: it leaves no window, even rounded up.");
  return out;
}

/** Rows that no window reads, as course_lib.dimensions.unread counts them. */
function unread(n, k, s, p, d, out) {
  const leftOver = Math.max(0, n + 2 * p - ((out - 1) * s + d * (k - 1) + 1));
  const edge = Math.min(n, Math.max(0, leftOver - p));
  let count = 0;
  const seen = readRows(n, k, s, p, d, out);
  for (let row = p; row < n + p; row++) count += seen[row];
  return { padding: Math.min(leftOver, p), edge, between: n - edge - count, read: count };
}

/** For each padded row, whether some window reads it. */
function readRows(n, k, s, p, d, out) {
  const seen = new Uint8Array(n + 2 * p);
  for (let o = 0; o < out; o++) for (let i = 0; i < k; i++) if (o * s + i * d < seen.length) seen[o * s + i * d] = 1;
  return seen;
}

/** The size formula with its numbers, and the floor to be seen. */
function arithmetic(n, k, s, p, d, kind, ceil) {
  const out = outputSize(n, k, s, p, d, kind, ceil);
  const window = d > 1 ? `${d}·(${k} − 1) − 1` : `${k}`;
  const quotient = (n + 2 * p - d * (k - 1) - 1) / s;
  const [left, right] = ceil ? "⌈⌉" : "⌊⌋";
  const late = (ceil ? Math.ceil(quotient) : Math.floor(quotient)) + 1 > out ? " − 1 (it would start in the padding)" : "";
  return `${left}(${n} + 2·${p} − ${window})/${s}${right} + 1 = ${left}${Number(quotient.toPrecision(6))}${right} + 1${late} = ${out}`;
}

function render({ model, el }) {
  const { limits, presets } = model.get("_data");
  const get = () => Object.fromEntries(KEYS.map((key) => [key, model.get(key)]));
  const set = (values) => { stop(); update(model, values); };
  let drawn = null; // what the last picture shows, for the pointer
  let timer = 0;

  const fields = [
    ["size", "N", "input size"], ["kernel", "K", "kernel"], ["stride", "S", "stride"],
    ["padding", "P", "padding"], ["dilation", "D", "dilation"],
  ].map(([key, letter, hint]) => [key, numberField(letter, hint, limits[key], (value) => set({ [key]: value }))]);
  const kind = choice("", [["conv", "convolution"], ["pool", "pooling"]],
    (value) => set(value === "conv" ? { kind: value, ceil_mode: false } : { kind: value }), "Kind of layer");
  const ceil = h("input", { type: "checkbox", onchange: () => set({ ceil_mode: ceil.checked }) });
  const preset = h("select", { "aria-label": "Example", onchange() {
    const { label, ...values } = presets[preset.value] ?? {};
    if (label) set({ ...values, row: -1, column: -1 });
  } }, h("option", { value: "own" }, "my own numbers"), presets.map(({ label }, i) => h("option", { value: i }, label)));

  const symbols = h("p", { class: "ex-muted" });
  const numbers = h("p");
  const says = h("p", { class: "ex-says", role: "status" });
  const left = h("p", { class: "ex-says ex-left" });
  const input = h("canvas", { class: "ex-input", tabindex: 0, role: "application",
    "aria-label": "Input. Arrow keys move the window, Home and End go to the first and the last." });
  const output = h("canvas", { role: "img" });
  const whole = h("canvas", { role: "img" });
  const inputName = h("p");
  const outputName = h("p");
  const wholeName = h("p", {}, "the whole input");
  const wholeBox = h("div", {}, wholeName, whole);

  const go = (row, column) => {
    if (!drawn) return;
    const { out } = drawn;
    const at = (i) => { const j = clamp(i, [0, out - 1]); return j === out - 1 ? -1 : j; };
    update(model, { row: at(row), column: at(column) });
  };
  const next = (step) => {
    if (!drawn) return;
    const { row, column, out } = drawn;
    const i = clamp(row * out + column + step, [0, out * out - 1]);
    go(Math.floor(i / out), i % out);
  };
  function stop() {
    clearInterval(timer);
    timer = 0;
    play.textContent = "Play";
  }
  const button = (text, name, act) => h("button", { type: "button", "aria-label": name, onclick: () => { stop(); act(); } }, text);
  const play = h("button", { type: "button", onclick() {
    if (timer) return stop();
    if (drawn && drawn.row === drawn.out - 1 && drawn.column === drawn.out - 1) go(0, 0);
    play.textContent = "Pause";
    timer = setInterval(() => {
      if (!el.isConnected || !drawn || (drawn.row === drawn.out - 1 && drawn.column === drawn.out - 1)) stop();
      else next(1);
    }, 350);
  } }, "Play");
  const steps = h("div", { class: "ex-row ex-steps", role: "group", "aria-label": "Move the window" },
    button("First", "First window", () => go(0, 0)), button("◀", "Window before", () => next(-1)),
    button("▶", "Next window", () => next(1)), button("Last", "Last window", () => go(Infinity, Infinity)),
    reducedMotion() ? null : play);

  input.addEventListener("keydown", (event) => {
    const { row, column } = drawn ?? {};
    const to = { ArrowUp: [row - 1, column], ArrowDown: [row + 1, column], ArrowLeft: [row, column - 1],
      ArrowRight: [row, column + 1], Home: [0, 0], End: [Infinity, Infinity] }[event.key];
    if (!to || !drawn || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    stop();
    go(...to);
  });
  const point = (canvas, place) => {
    const move = (event) => {
      if (!drawn || (event.type === "pointermove" && (!event.buttons || event.pointerType !== "mouse"))) return;
      const box = canvas.getBoundingClientRect();
      stop();
      go(...place(event.clientY - box.top, event.clientX - box.left).map(Math.round));
    };
    canvas.addEventListener("click", move);
    canvas.addEventListener("pointermove", move);
  };
  const centered = (cell, from, pad) => (...xy) => xy.map((x) => {
    const { stride, padding, extent } = drawn;
    return ((x - pad) / cell + from[xy.indexOf(x)] - 0.5 + padding - (extent - 1) / 2) / stride;
  });
  point(input, (y, x) => centered(drawn.cell, [drawn.top, drawn.leftmost], drawn.gutter)(y, x));
  point(whole, (y, x) => centered(drawn.scale, [-drawn.padding, -drawn.padding], 0)(y, x));
  point(output, (y, x) => [y, x].map((v) => v / drawn.outCell - 0.5));

  el.classList.add("explorer", "explorer-convolution");
  el.append(
    h("style", {}, `
      .explorer-convolution .ex-panels { display: grid; grid-template-columns: minmax(0, 5fr) minmax(0, 2.3fr); gap: 0.8rem 1.4rem; }
      .explorer-convolution .ex-input { aspect-ratio: 1; cursor: crosshair; }
      .explorer-convolution .ex-side { display: grid; grid-template-rows: 1fr 1fr; gap: 0.6rem; }
      .explorer-convolution .ex-side canvas { aspect-ratio: 1; }
      .explorer-convolution .ex-panels p { font-size: 0.9em; min-height: 1.5em; margin-bottom: 0.2rem; white-space: nowrap; }
      .explorer-convolution .ex-result { min-height: 4.4rem; }
      .explorer-convolution .ex-muted { color: var(--ex-muted); }
      .explorer-convolution .ex-says { min-height: 2.9em; }
      .explorer-convolution .ex-fields { grid-template-columns: repeat(auto-fit, minmax(18rem, 1fr)); }
      .explorer-convolution .ex-steps { margin: 0.6rem 0; }
      .explorer-convolution .ex-options { display: flex; flex-wrap: wrap; gap: 0.4rem 0.7rem; }
      .explorer-convolution .ex-options button { padding-inline: 0.45rem; }
      @container (max-width: 560px) {
        .explorer-convolution .ex-panels { grid-template-columns: minmax(0, 1fr); }
        .explorer-convolution .ex-side { grid-template: auto / 1fr 1fr; }
        .explorer-convolution .ex-result { min-height: 5.8rem; }
        .explorer-convolution .ex-says { min-height: 5.8em; }
      }`),
    h("div", { class: "ex-head" }, h("p", { class: "ex-title" }, "A window moves over a grid"), preset),
    h("div", { class: "ex-fields" }, fields.map(([, field]) => field.box),
      h("div", { class: "ex-options" }, kind.box, h("label", {}, ceil, "round up"))),
    h("div", { class: "ex-result" }, symbols, numbers),
    h("div", { class: "ex-panels" },
      h("div", {}, inputName, input),
      h("div", { class: "ex-side" }, h("div", {}, outputName, output), wholeBox)),
    h("div", { class: "ex-key" },
      h("span", {}, h("i", { style: "background: var(--ex-tint)" }), "input"),
      h("span", {}, h("i", { style: "border-style: dashed" }), "padding"),
      h("span", {}, h("i", { style: "background: var(--ex-blue)" }), "read by this window, and what it makes"),
      h("span", {}, h("i", { class: "ex-hatch" }), "read by no window")),
    steps, says, left);

  function draw() {
    const state = get();
    const { size: n, kernel: k, stride: s, padding: p, dilation: d, ceil_mode: up } = state;
    for (const [key, field] of fields) field.show(state[key]);
    kind.show(state.kind);
    ceil.checked = up;
    ceil.disabled = state.kind === "conv";
    const found = presets.findIndex(({ label, ...values }) => Object.entries(values).every(([key, value]) => state[key] === value));
    preset.value = found < 0 ? "own" : found;
    const [open, close] = up ? "⌈⌉" : "⌊⌋";
    symbols.textContent = `${open}(N + 2·P − ${d > 1 ? "D·(K − 1) − 1" : "K"})/S${close} + 1`;
    let out;
    try {
      out = outputSize(n, k, s, p, d, state.kind, up);
    } catch (error) {
      drawn = null;
      numbers.replaceChildren(h("b", { class: "ex-orange" }, `No output. ${error.message}`));
      says.textContent = left.textContent = "";
      inputName.textContent = `input ${n} × ${n}, padding ${p}`;
      outputName.textContent = "no output";
      [input, output, whole].forEach(clean);
      return;
    }
    const text = arithmetic(n, k, s, p, d, state.kind, up);
    const cut = text.lastIndexOf("=") + 1;
    numbers.replaceChildren(text.slice(0, cut), " ", h("b", { class: "ex-blue" }, text.slice(cut).trim()));
    const at = (i) => (i < 0 ? out - 1 : Math.min(i, out - 1));
    const extent = d * (k - 1) + 1;
    const row = at(state.row);
    const column = at(state.column);
    drawn = { out, row, column, stride: s, padding: p, extent };
    inputName.textContent = `input ${n} × ${n}${p ? `, padding ${p} all around` : ""}`;
    outputName.textContent = `output ${out} × ${out}`;
    output.setAttribute("aria-label", `Output of ${out} × ${out}; row ${row}, column ${column} is marked.`);
    whole.setAttribute("aria-label", `The whole input with padding, ${n + 2 * p} × ${n + 2 * p}, and the part shown large.`);
    const span = (o, word) => { const a = o * s - p; const b = a + extent - 1; return a === b ? `${word} ${a}` : `${word}s ${a} to ${b}`; };
    const zeros = [row, column].some((o) => o * s < p || o * s - p + extent > n);
    says.textContent = `Output row ${row}, column ${column}, counted from 0, reads ${span(row, "row")} and ${span(column, "column")} of the input` +
      `${d > 1 ? `, every ${d}${d === 2 ? "nd" : d === 3 ? "rd" : "th"}` : ""}` +
      `${zeros ? "; below 0 and above " + (n - 1) + " lies padding." : "."}`;
    left.textContent = leftOver(unread(n, k, s, p, d, out), n);
    paint(state, out, row, column, extent);
  }

  function leftOver({ padding, edge, between, read }, n) {
    const parts = [];
    if (padding) parts.push(`${plural(padding, "row")} of padding`);
    if (edge) parts.push(`${plural(edge, "row")} of the input`);
    const skipped = between ? `${plural(between, "row")} between the windows` : "";
    if (!parts.length && !skipped) return "No row is left over: every row is read.";
    const far = parts.length ? `Left over at the far edge: ${parts.join(" and ")}. ` : "";
    const jumped = skipped ? `Stepped over: ${skipped}. ` : "";
    const lost = edge || between ? `${(read * read).toLocaleString("en")} of ${(n * n).toLocaleString("en")} input values are read.` : "No input value is lost.";
    return far + jumped + lost;
  }

  function paint({ size: n, kernel: k, stride: s, padding: p, dilation: d, kind }, out, row, column, extent) {
    const color = palette(el);
    const seen = readRows(n, k, s, p, d, out);
    const end = Math.max(n + p, (out - 1) * s - p + extent); // a last window may hang over
    const total = end + p;
    const fits = total <= FITS;
    const shown = fits ? total : Math.min(total, Math.max(16, extent + 5));
    const start = (o) => (fits ? -p : clamp(Math.round(o * s - p + (extent - shown) / 2), [-p, end - shown]));
    const [top, leftmost] = [start(row), start(column)];

    let [c, width] = clean(input);
    const gutter = 22;
    const cell = (width - gutter - 2) / shown;
    Object.assign(drawn, { top, leftmost, cell, gutter });
    const x = (i) => gutter + (i - leftmost) * cell;
    const y = (i) => gutter + (i - top) * cell;
    const hatch = stripes(c, color);
    const state = (i) => (i >= n + p ? -1 : seen[i + p]); // -1: outside even of the padding
    c.lineWidth = 1;
    for (let i = top; i < top + shown; i++) {
      for (let j = leftmost; j < leftmost + shown; j++) {
        if (state(i) < 0 || state(j) < 0) continue;
        const pad = i < 0 || j < 0 || i >= n || j >= n;
        const none = !state(i) || !state(j);
        const gap = cell > 8 ? 1 : 0.5;
        c.fillStyle = none && !pad ? color.warm : pad ? color.ground : color.tint;
        c.fillRect(x(j) + gap / 2, y(i) + gap / 2, cell - gap, cell - gap);
        if (none) {
          c.fillStyle = hatch;
          c.fillRect(x(j) + gap / 2, y(i) + gap / 2, cell - gap, cell - gap);
        }
        if (pad && cell > 5) {
          c.strokeStyle = color.muted;
          c.setLineDash([2, 2]);
          c.strokeRect(x(j) + 1, y(i) + 1, cell - 2, cell - 2);
          c.setLineDash([]);
        }
        if (pad && cell >= 15) write(c, kind === "pool" ? "−∞" : "0", x(j) + cell / 2, y(i) + cell / 2, color.muted, color);
      }
    }
    c.globalAlpha = 0.75;
    c.fillStyle = color.blue;
    for (let i = 0; i < k; i++) {
      for (let j = 0; j < k; j++) {
        c.fillRect(x(column * s - p + j * d) + 1, y(row * s - p + i * d) + 1, cell - 2, cell - 2);
      }
    }
    c.globalAlpha = 1;
    c.strokeStyle = color.blue;
    c.lineWidth = 3;
    c.strokeRect(x(column * s - p), y(row * s - p), extent * cell, extent * cell);
    const every = cell >= 15 ? 1 : cell >= 8 ? 5 : 10;
    for (let i = 0; i < shown; i++) {
      for (const [first, place] of [[top, (v) => [11, y(v) + cell / 2]], [leftmost, (v) => [x(v) + cell / 2, 11]]]) {
        const v = first + i;
        const step = cell < 23 && n > 99 ? Math.max(every, 2) : every;
        if (v >= 0 && v < n && v % step === 0) write(c, `${v}`, ...place(v), color.muted, color);
      }
    }

    [c, width] = clean(output);
    const outCell = Math.min(fits ? cell : Infinity, width / out);
    drawn.outCell = outCell;
    c.fillStyle = color.tint;
    const gap = outCell > 5 ? 1 : 0;
    if (!gap) c.fillRect(0, 0, out * outCell, out * outCell);
    else for (let i = 0; i < out; i++) for (let j = 0; j < out; j++) c.fillRect(j * outCell, i * outCell, outCell - gap, outCell - gap);
    c.fillStyle = color.blue;
    const mark = Math.max(outCell - gap, 4);
    const spot = (o) => clamp(o * outCell, [0, width - mark]);
    c.fillRect(spot(column), spot(row), mark, mark);

    wholeBox.style.visibility = fits ? "hidden" : "visible";
    [c, width] = clean(whole);
    const scale = width / total;
    drawn.scale = scale;
    if (fits) return;
    c.fillStyle = color.panel;
    c.fillRect(0, 0, width, width);
    c.fillStyle = color.tint;
    c.fillRect(p * scale, p * scale, n * scale, n * scale);
    c.fillStyle = color.orange;
    seen.forEach((yes, i) => {
      if (yes) return;
      c.fillRect(0, i * scale, seen.length * scale, Math.max(scale, 1));
      c.fillRect(i * scale, 0, Math.max(scale, 1), seen.length * scale);
    });
    c.strokeStyle = color.ink;
    c.lineWidth = 1.5;
    c.strokeRect((leftmost + p) * scale, (top + p) * scale, shown * scale, shown * scale);
    c.fillStyle = color.blue;
    c.fillRect(column * s * scale, row * s * scale, Math.max(extent * scale, 4), Math.max(extent * scale, 4));
  }

  function stripes(c, color) {
    const tile = h("canvas", { width: 6, height: 6 });
    const t = tile.getContext("2d");
    t.strokeStyle = color.orange;
    t.lineWidth = 1.6;
    for (const shift of [-6, 0, 6]) { t.moveTo(shift, 6); t.lineTo(shift + 6, 0); }
    t.stroke();
    return c.createPattern(tile, "repeat");
  }

  function write(c, text, x, y, fill, color) {
    c.fillStyle = fill;
    c.font = `11px ${color.font}`;
    c.textAlign = "center";
    c.textBaseline = "middle";
    c.fillText(text, x, y);
  }

  const unwatch = watch(model, KEYS, el, draw);
  return () => { stop(); unwatch(); };
}

export { arithmetic, outputSize, unread };
export default { render };
