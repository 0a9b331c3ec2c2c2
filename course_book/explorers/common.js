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
