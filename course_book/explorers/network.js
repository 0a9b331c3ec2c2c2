// Network walk: five ResNets as a map, and every layer's shape, work and memory.
// common.js

const KEYS = ["depth", "size", "stem", "classes", "batch", "memory", "unit"];
const FLOAT = 4; // bytes
const INDEX = 8; // bytes of a position that max pooling remembers
const STATISTICS = 2; // mean and deviation that BN keeps of each channel

/** The field of a value one layer on, as course_lib.dimensions.grow. */
function grow({ size, jump, start }, k, s = 1, p = 0) {
  return { size: size + (k - 1) * jump, jump: jump * s, start: start - p * jump };
}

function span(a, b) {
  const start = Math.min(a.start, b.start);
  return { size: Math.max(a.start + a.size, b.start + b.size) - start, jump: a.jump, start };
}

/**
 * Every layer for one image of size × size in train mode, as course_lib.ledger counts.
 * kept grows with the batch, fixed does not; a block of memory counts where it is
 * first kept.
 */
function walk({ templates, stems, nets, channels: colors }, depth, stem, classes, size) {
  const rows = [];
  const parts = [["stem", [stems[stem]]], ...nets[depth]];
  let x = { shape: [colors, size, size], field: { size: 1, jump: 1, start: 0 }, block: { kept: false } };
  const numel = ({ shape }) => shape.reduce((a, b) => a * b, 1);
  for (const [part, units] of parts) {
    units.forEach((index, number) => {
      const unit = part.startsWith("layer") ? `${part}.${number}` : part;
      const entry = x;
      let side = null;
      for (const [local, kind, channels, k, s, p, weights, perPosition] of templates[index]) {
        const aside = local.startsWith("downsample");
        const input = aside ? side ?? entry : x;
        const row = { name: unit === part ? local : `${unit}.${local}`, part, unit, aside, kind, input: input.shape,
          parameters: weights, macs: 0, bytes: 0, kept: 0, fixed: 0, k, s, p };
        const keep = (value) => {
          if (!value.block.kept) row.kept += FLOAT * numel(value);
          value.block.kept = true;
        };
        let out = { ...input };
        const fresh = (shape) => {
          out = { shape, field: out.field, block: { kept: false } };
          row.bytes = FLOAT * numel(out);
        };
        const [c, height] = input.shape;
        if (kind === "conv" || kind === "pool") {
          const side = Math.floor((height + 2 * p - k) / s) + 1;
          keep(input);
          fresh([channels, side, side]);
          out.field = grow(input.field, k, s, p);
          row.macs = perPosition * side * side;
          if (kind === "pool") row.kept += INDEX * numel(out);
        } else if (kind === "bn") {
          keep(input);
          fresh(input.shape);
          row.fixed = STATISTICS * FLOAT * c;
        } else if (kind === "relu") {
          keep(out);
        } else if (kind === "add") {
          out.field = span(x.field, (side ?? entry).field);
        } else if (kind === "avg") {
          fresh([c, 1, 1]);
          out.field = grow(input.field, height);
        } else if (kind === "flat") {
          out.shape = [c];
        } else if (kind === "fc") {
          keep(input);
          fresh([classes]);
          row.macs = c * classes;
          row.parameters = (c + 1) * classes;
        }
        row.output = out.shape;
        row.field = out.field.size;
        rows.push(row);
        if (aside) side = out;
        else x = out;
      }
    });
  }
  return rows;
}

/** Sums of rows. */
function total(rows) {
  const sum = { parameters: 0, macs: 0, bytes: 0, kept: 0, fixed: 0 };
  for (const row of rows) for (const key of Object.keys(sum)) sum[key] += row[key];
  return sum;
}

/** Bytes while training a batch, as course_lib.ledger.fits adds them up (SGD with momentum). */
function training({ buffers, workspace }, depth, rows, batch, gibibytes) {
  const { parameters, kept, fixed } = total(rows);
  const weights = FLOAT * parameters + buffers[depth];
  const parts = { weights, gradients: FLOAT * parameters, momentum: FLOAT * parameters, workspace, activations: fixed + batch * kept };
  const room = gibibytes * 2 ** 30 - (weights + 2 * FLOAT * parameters + workspace + fixed);
  return { parts, peak: Object.values(parts).reduce((a, b) => a + b), largest: Math.max(0, Math.floor(room / kept)) };
}

function render({ model, el }) {
  const data = model.get("_data");
  const { limits, nets } = data;
  const set = (values) => update(model, values);
  const mib = (bytes) => `${(bytes / 2 ** 20).toLocaleString("en", { maximumFractionDigits: bytes < 2 ** 20 * 10 ? 2 : 1 })} MiB`;
  const gib = (bytes) => (bytes < 2 ** 30 ? mib(bytes) : `${(bytes / 2 ** 30).toFixed(2)} GiB`);
  const many = (n) => (n >= 1e9 ? `${(n / 1e9).toFixed(2)} billion` : n >= 1e6 ? `${(n / 1e6).toFixed(1)} million` : n.toLocaleString("en"));
  const dims = (shape) => shape.join(" × ");

  const depth = choice("ResNet-", limits.depth.oneOf.map((d) => [d, `${d}`]), (value) => set({ depth: value }), "Depth");
  const stem = choice("stem", [["imagenet", "7×7 and pooling"], ["small", "3×3"]], (value) => set({ stem: value }));
  const classes = choice("classes", limits.classes.oneOf.map((n) => [n, n.toLocaleString("en")]), (value) => set({ classes: value }));
  const size = numberField("photo", "pixels", limits.size, (value) => set({ size: value }));
  const batch = numberField("batch", "photos", limits.batch, (value) => set({ batch: value }));
  const memory = choice("memory", limits.memory.oneOf.map((n) => [n, `${n}`]), (value) => set({ memory: value }), "Memory in GiB");
  memory.box.append(h("span", { "aria-hidden": "true" }, "GiB"));
  const says = h("p", { class: "ex-result", role: "status" });
  const map = h("div", { class: "ex-map", role: "group", "aria-label": "Map of the network, from the photo to the logits; arrow keys move from unit to unit" });
  const open = h("div", { class: "ex-open" });
  const bar = h("div", { class: "ex-memory" });
  const fits = h("p");

  el.classList.add("explorer", "explorer-network");
  el.append(
    h("style", {}, `
      .explorer-network .ex-controls { display: flex; flex-wrap: wrap; gap: 0.4rem 1.6rem; margin-bottom: 0.4rem; }
      .explorer-network .ex-map { display: grid; gap: 2px; }
      .explorer-network .ex-part { display: grid; grid-template-columns: 4.4rem 8.6rem minmax(0, 1fr) 12rem; gap: 0.2rem 0.7rem; align-items: center; min-height: 3.5rem; padding: 0.25rem 0.5rem; border-radius: 0.4rem; background: var(--ex-panel); }
      .explorer-network .ex-part svg { width: 4.4rem; height: 3.3rem; margin: 0; overflow: visible; }
      .explorer-network .ex-units { display: flex; flex-wrap: wrap; gap: 3px; }
      .explorer-network .ex-units button { min-width: 1.75rem; min-height: 1.75rem; padding: 0 0.35rem; font-weight: 650; font-size: 0.9em; border-color: transparent; color: var(--ex-ground); background: var(--ex-blue); }
      .explorer-network .ex-units button.special { background: var(--ex-orange); }
      .explorer-network .ex-units button.other { color: var(--ex-ink); background: var(--ex-ground); border-color: var(--ex-edge); }
      .explorer-network .ex-units button[aria-pressed="true"] { outline: 3px solid var(--ex-ink); outline-offset: 1px; }
      .explorer-network .ex-shares { display: grid; grid-template-columns: repeat(3, 1fr); gap: 0.5rem; font-size: 0.82em; font-variant-numeric: tabular-nums; }
      .explorer-network .ex-shares i { display: block; height: 0.55rem; border-radius: 2px; background: linear-gradient(to right, var(--ex-blue) var(--share), var(--ex-rule) 0); }
      .explorer-network .ex-heads { min-height: 0; background: none; color: var(--ex-muted); font-size: 0.9em; }
      .explorer-network .ex-open { margin-top: 0.8rem; min-height: 18.5rem; }
      .explorer-network.deep .ex-open { min-height: 25rem; }
      .explorer-network .ex-open > p:first-child { font-weight: 650; margin-bottom: 0.4rem; }
      .explorer-network .ex-branches { display: grid; grid-template-columns: minmax(0, 3fr) minmax(0, 2fr); border: 2px solid var(--ex-blue); border-left-color: var(--ex-edge); border-radius: 0 1.2rem 1.2rem 0; margin: 0 0.7rem 0 0.9rem; padding: 0.6rem 0.8rem 0.9rem 0; gap: 0.8rem; position: relative; }
      .explorer-network .ex-branches:not(.plain)::after { content: "+"; position: absolute; left: -0.8rem; bottom: -0.8rem; width: 1.5rem; height: 1.5rem; border: 2px solid var(--ex-ink); border-radius: 50%; background: var(--ex-ground); font: 700 1.1rem/1.3rem sans-serif; text-align: center; }
      .explorer-network .ex-branches.plain { grid-template-columns: 1fr; border-color: transparent transparent transparent var(--ex-edge); }
      .explorer-network .ex-branches.special { border-color: var(--ex-orange); border-left-color: var(--ex-edge); }
      .explorer-network .ex-side { align-self: center; text-align: right; }
      .explorer-network .ex-op { margin: 0 0 0.5rem -0.9rem; padding: 0.3rem 0.6rem; border: 1px solid var(--ex-edge); border-radius: 0.35rem; background: var(--ex-ground); font-size: 0.92em; }
      .explorer-network .ex-side .ex-op { margin: 0 -1.4rem 0 0; border-color: var(--ex-orange); text-align: left; }
      .explorer-network .ex-op p:nth-child(2) { color: var(--ex-muted); }
      .explorer-network .ex-end { margin: 0.15rem 0 0 2.2rem; }
      .explorer-network .ex-memory { display: flex; height: 1.5rem; margin: 0.5rem 0 0.3rem; border-radius: 0.3rem; overflow: hidden; background: var(--ex-rule); }
      .explorer-network .ex-memory i { min-width: 1px; }
      .explorer-network .ex-small { display: none; color: var(--ex-muted); }
      .explorer-network .ex-train { margin-top: 0.8rem; padding-top: 0.6rem; border-top: 1px solid var(--ex-rule); }
      @container (max-width: 560px) {
        .explorer-network .ex-part { grid-template-columns: 4.4rem minmax(0, 1fr); }
        .explorer-network .ex-units, .explorer-network .ex-shares { grid-column: 1 / -1; }
        .explorer-network .ex-units button { min-width: 2.1rem; min-height: 2.1rem; }
        .explorer-network .ex-heads { display: none; }
        .explorer-network .ex-small { display: block; }
        .explorer-network .ex-branches { grid-template-columns: minmax(0, 1fr); }
        .explorer-network .ex-side { text-align: left; margin-left: 0.9rem; }
        .explorer-network .ex-open { min-height: 35rem; }
        .explorer-network.deep .ex-open { min-height: 43rem; }
        .explorer-network .ex-result { min-height: 7.2em; }
        .explorer-network .ex-part { padding-bottom: 0.45rem; }
      }`),
    h("div", { class: "ex-head" }, h("p", { class: "ex-title" }, "Walk through a network"), depth.box),
    h("div", { class: "ex-fields" }, size.box, classes.box),
    h("div", { class: "ex-controls" }, stem.box),
    says, map,
    h("div", { class: "ex-key" },
      h("span", {}, h("i", { style: "background: var(--ex-blue)" }), "C: common unit, identity shortcut"),
      h("span", {}, h("i", { style: "background: var(--ex-orange)" }), "S: special unit, projection")),
    open,
    h("div", { class: "ex-train" }, h("div", { class: "ex-fields" }, batch.box, memory.box), bar, fits));

  map.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    const all = [...map.querySelectorAll("button")];
    const next = all[clamp(all.findIndex((b) => b.getAttribute("aria-pressed") === "true") + step, [0, all.length - 1])];
    set({ unit: next.dataset.unit });
    queueMicrotask(() => map.querySelector("[aria-pressed=true]").focus());
  });

  function icon([c, height], largest) {
    const side = Math.max(2, 40 * height / largest);
    const d = Math.sqrt(c) / 1.6;
    const [x, y] = [2, 12 + (40 - side) / 2];
    const face = (points, fill) => h("svg:polygon", { points, fill, stroke: "var(--ex-blue)", "stroke-width": 0.8 });
    return h("svg:svg", { viewBox: "0 0 70 53", "aria-hidden": "true" },
      face(`${x},${y} ${x + d},${y - d / 2} ${x + d + side},${y - d / 2} ${x + side},${y}`, "var(--ex-ground)"),
      face(`${x + side},${y} ${x + side + d},${y - d / 2} ${x + side + d},${y - d / 2 + side} ${x + side},${y + side}`, "var(--ex-rule)"),
      face(`${x},${y} ${x + side},${y} ${x + side},${y + side} ${x},${y + side}`, "var(--ex-tint)"));
  }

  function draw() {
    const now = Object.fromEntries(KEYS.map((key) => [key, model.get(key)]));
    for (const [key, field] of Object.entries({ depth, stem, classes, size, batch, memory })) field.show(now[key]);
    const rows = walk(data, now.depth, now.stem, now.classes, now.size);
    const sum = total(rows);
    says.replaceChildren(h("b", {}, `ResNet-${now.depth}`), ` at ${now.size} pixels: ${sum.parameters.toLocaleString("en")} parameters, ${many(sum.macs)} MACs for a photo, ${mib(sum.kept)} of activations kept for the backward pass.`);
    const units = [...new Set(rows.map((row) => row.unit))];
    const unit = units.includes(now.unit) ? now.unit : "stem";
    drawMap(rows, sum, unit);
    drawUnit(rows.filter((row) => row.unit === unit), unit);
    drawMemory(rows, now);
  }

  function drawMap(rows, sum, unit) {
    const focused = map.contains(document.activeElement);
    const parts = ["stem", ...nets[model.get("depth")].map(([name]) => name)];
    const largest = rows.find((row) => row.part === "layer1").input[1];
    const heads = h("div", { class: "ex-part ex-heads", "aria-hidden": "true" }, h("span"), h("span", {}, "what comes out"), h("span", {}, "units, click to open"),
      h("div", { class: "ex-shares" }, ["parameters", "MACs", "kept"].map((text) => h("span", {}, text))));
    map.replaceChildren(heads, ...parts.map((part) => {
      const own = rows.filter((row) => row.part === part);
      const here = total(own);
      const last = own.filter((row) => row.output.length > 1).at(-1);
      const floors = own.filter((row) => !row.aside && row.s > 1 && floored(row));
      const buttons = [...new Set(own.map((row) => row.unit))].map((name) => {
        const special = own.some((row) => row.unit === name && row.aside);
        const residual = part.startsWith("layer");
        return h("button", { type: "button", "data-unit": name, tabindex: name === unit ? 0 : -1, "aria-pressed": `${name === unit}`,
          class: residual ? (special ? "special" : "common") : "other", onclick: () => set({ unit: name }),
          "aria-label": residual ? `${name}, ${special ? "special" : "common"} unit` : part,
        }, residual ? (special ? "S" : "C") : part === "head" ? "average, FC" : own.some((row) => row.kind === "pool") ? "conv, pooling" : "conv");
      });
      return h("div", { class: "ex-part" }, icon(last.output, largest),
        h("div", {}, h("b", {}, part), h("br"), part === "head" ? `${own.at(-1).output[0].toLocaleString("en")} logits` : dims(last.output),
          floors.length ? h("small", { class: "ex-orange" }, h("br"), floors.map((row) => `${exact(row)}\u00a0→\u00a0${row.output[1]}`).join(", ")) : null),
        h("div", { class: "ex-units" }, buttons),
        h("div", { class: "ex-shares" }, [["parameters", "parameters"], ["macs", "MACs"], ["kept", "kept"]].map(([key, text]) => {
          const share = `${(100 * here[key] / sum[key]).toFixed(1)}%`;
          return h("span", {}, h("span", { class: "ex-small" }, `${text} `), share, h("i", { style: `--share: ${share}` }));
        })));
    }));
    if (focused) map.querySelector("[aria-pressed=true]").focus();
  }

  const exact = ({ input, k, s, p }) => (input[1] + 2 * p - k) / s + 1;
  const floored = (row) => !Number.isInteger(exact(row));

  function operations(rows) {
    const groups = [];
    for (const row of rows) {
      if (["bn", "relu", "flat", "same"].includes(row.kind) && groups.length) groups.at(-1).push(row);
      else groups.push([row]);
    }
    return groups;
  }

  function box(group) {
    const [row] = group;
    const end = group.at(-1);
    const sum = total(group);
    const does = { conv: `${row.k}×${row.k} convolution`, pool: `${row.k}×${row.k} max pooling`, avg: "average of each map", fc: "linear layer" }[row.kind] ?? row.kind;
    const then = group.slice(1).map((r) => ({ bn: "BN", relu: "ReLU", flat: "flatten" })[r.kind]).filter(Boolean);
    const facts = [`${sum.parameters.toLocaleString("en")} parameters`, `${many(sum.macs)} MACs`, `${mib(sum.kept)} kept`, `sees ${end.field} px`];
    return h("div", { class: "ex-op" },
      h("p", {}, h("b", {}, row.name.replace(/^layer\d\.\d+\./, "")), `: ${[does + (row.s > 1 ? `, S ${row.s}` : ""), ...then].join(", ")}`),
      h("p", {}, `${dims(row.input)} → ${dims(end.output)}. ${facts.join(", ")}.`),
      row.s > 1 ? h("p", { class: floored(row) ? "ex-orange" : "ex-muted" }, `⌊(${row.input[1]} + 2·${row.p} − ${row.k})/${row.s}⌋ + 1 = ${row.output[1]}`,
        floored(row) ? `: the floor drops a row of ${row.p ? "padding" : "x"}` : ": nothing to drop",
        row.k < row.s ? `; reads ${(row.output[1] ** 2).toLocaleString("en")} of ${(row.input[1] ** 2).toLocaleString("en")} positions` : "") : null);
  }

  function drawUnit(rows, unit) {
    const residual = unit.startsWith("layer");
    el.classList.toggle("deep", data.templates[nets[model.get("depth")][0][1][0]].length > 12);
    const at = rows.findIndex((row) => row.kind === "add");
    const main = operations((residual ? rows.slice(0, at) : rows).filter((row) => !row.aside)).map(box);
    const aside = operations(rows.filter((row) => row.aside)).map(box);
    const end = rows.at(-1);
    const first = dims(rows[0].input);
    if (!residual) {
      open.replaceChildren(h("p", {}, `${unit}: ${first} → ${dims(end.output)}`), h("div", { class: "ex-branches plain" }, h("div", {}, main)));
      return;
    }
    open.replaceChildren(
      h("p", {}, `${unit}, a ${aside.length ? "special" : "common"} unit: x of ${first} goes two ways`),
      h("div", { class: aside.length ? "ex-branches special" : "ex-branches" }, h("div", {}, main),
        h("div", { class: "ex-side" }, aside.length ? aside : h("p", { class: "ex-blue" }, "identity: x as it is, no parameters, no work"))),
      h("p", { class: "ex-end" }, "F(x) + ", aside.length ? "projected x" : "x", `, then ReLU: ${dims(end.output)}`));
  }

  const TONES = { weights: "var(--ex-ink)", gradients: "var(--ex-muted)", momentum: "var(--ex-edge)", workspace: "var(--ex-orange)", activations: "var(--ex-blue)" };
  function drawMemory(rows, now) {
    const { parts, peak, largest } = training(data, now.depth, rows, now.batch, now.memory);
    const whole = Math.max(peak, now.memory * 2 ** 30);
    bar.replaceChildren(...Object.entries(parts).map(([name, bytes]) => h("i", { style: `width: ${100 * bytes / whole}%; background: ${TONES[name]}` })));
    fits.replaceChildren(h("span", { class: "ex-key" }, Object.entries(parts).map(([name, bytes]) =>
      h("span", {}, h("i", { style: `background: ${TONES[name]}` }), `${name} ${gib(bytes)}`))),
    `Training with a batch of ${now.batch} needs `, h("b", { class: peak > now.memory * 2 ** 30 ? "ex-orange" : "" }, gib(peak)),
    `; ${now.memory} GiB hold a batch of at most `, h("b", {}, largest.toLocaleString("en")), ".");
  }

  return watch(model, KEYS, el, draw);
}

export { total, training, walk };
export default { render };
