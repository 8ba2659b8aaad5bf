/* Draws one explorable: reads the packed grid beside it, makes its controls, redraws when they move or the theme does.
 * Runs as it is in the book, Jupyter, VS Code, Colab and a file on disk. No dependency but plotly.js. */
function startExplorable(id, tries) {
  const roots = document.querySelectorAll(`.explorable[data-id="${id}"]:not([data-started])`);
  if (roots.length) return roots.forEach(explorable);
  // notebooks may run the script a moment before they attach the cell's HTML to the page
  if ((tries || 0) < 100 && !document.querySelector(`.explorable[data-id="${id}"]`))
    setTimeout(() => startExplorable(id, (tries || 0) + 1), 50);
}

function explorable(root) {
  root.dataset.started = "1";
  const spec = JSON.parse(root.querySelector(".explorable-data").textContent);
  const plot = root.querySelector(".explorable-plot");
  const position = spec.controls.map((control) => control.default);
  let dark = pageIsDark(root), wanted = false, drawing = false, stale = false, widgets = [], plotly = null;

  // the sentence below the figure, in the room that the longest one needs: nothing below it jumps while a slider moves
  const said = element("span", {}), readout = root.querySelector(".explorable-readout");
  readout.replaceChildren(said);
  readout.dataset.longest = sentences(spec).reduce((long, one) => (one.length > long.length ? one : long), "");

  const point = () => position.reduce((sum, at, n) => sum * spec.controls[n].values.length + at, 0);

  function draw() {
    const figure = figureAt(spec, point(), dark && !root.dataset.printing);
    describe(figure.alt);
    return plotly.react(plot, figure.data, figure.layout, {
      displayModeBar: false, responsive: true, doubleClick: false, showTips: false,
    });
  }

  function describe(sentence) {
    plot.setAttribute("aria-label", sentence);
    if (said.textContent !== sentence) said.textContent = sentence;
  }

  function redraw() {
    widgets.forEach((show) => show());
    const reset = root.querySelector(".explorable-reset");
    if (reset) reset.hidden = position.every((at, n) => at === spec.controls[n].default);
    if (!root.dataset.ready) return void describe(figureAt(spec, point(), false).alt);
    stale = drawing;
    if (drawing) return;
    drawing = true; // at once; what moves before the next frame is drawn with it
    draw();
    requestAnimationFrame(() => { drawing = false; if (stale) redraw(); });
  }

  async function begin() {
    if (wanted) return;
    wanted = true;
    try {
      plotly = await loadPlotly(spec.plotly);
      plot.style.height = `${plot.dataset.height}px`;
      plot.hidden = false;
      root.querySelector(".explorable-still").hidden = true;
      await draw();
      root.dataset.ready = "1";
    } catch (problem) {
      plot.hidden = true;
      root.querySelector(".explorable-still").hidden = false;
      root.dataset.failed = String(problem);
      root.querySelector(".explorable-note").textContent =
        "Plotly could not be loaded, so this picture stands still. With a network, reload the page.";
      root.querySelector(".explorable-note").hidden = false;
    }
  }

  root.querySelector(".explorable-note").hidden = true;
  if (spec.controls.length) widgets = makeControls(root, spec.controls, position, redraw);
  describe(figureAt(spec, point(), false).alt);
  watchTheme(() => {
    const now = pageIsDark(root);
    if (now !== dark) { dark = now; redraw(); }
  });
  const printing = (on) => () => {
    if (on) root.dataset.printing = "1"; else delete root.dataset.printing;
    if (root.dataset.ready && dark) draw();
  };
  window.addEventListener("beforeprint", printing(true));
  window.addEventListener("afterprint", printing(false));
  if (!window.IntersectionObserver) return void begin();
  const observer = new IntersectionObserver((seen) => {
    if (seen.some((entry) => entry.isIntersecting)) { observer.disconnect(); begin(); }
  }, { rootMargin: "400px 0px" });
  observer.observe(root);
}

/* ---- the figure at one point of the grid ---- */

function figureAt(spec, point, dark) {
  const tree = JSON.parse(JSON.stringify(spec.figure.base));
  for (const entry of spec.figure.varying) {
    const last = entry.path[entry.path.length - 1];
    entry.path.slice(0, -1).reduce((node, key) => node[key], tree)[last] = unpackRow(entry, point);
  }
  return dark ? recoloured(tree, spec.dark) : tree;
}

function sentences(spec) {
  const varying = spec.figure.varying.find((entry) => entry.path.join() === "alt");
  return varying ? varying.values : [spec.figure.base.alt];
}

function unpackRow(entry, point) {
  const row = entry.index.length ? entry.index[point] : 0;
  if (entry.kind === "json") return JSON.parse(JSON.stringify(entry.values[row]));
  entry.codes = entry.codes || decoded(entry);
  const size = entry.shape.reduce((product, n) => product * n, 1);
  const numbers = Array.from(entry.codes.subarray(row * size, (row + 1) * size), (code) => number(entry, code));
  if (entry.shape.length < 2) return numbers;
  const width = entry.shape[1];
  return Array.from({ length: entry.shape[0] }, (_, n) => numbers.slice(n * width, (n + 1) * width));
}

function decoded(entry) {
  const bytes = Uint8Array.from(atob(entry.bytes), (character) => character.charCodeAt(0));
  delete entry.bytes;
  if (entry.kind === "short") return new Uint16Array(bytes.buffer);
  if (entry.kind === "float") return new Float32Array(bytes.buffer);
  if (entry.kind !== "table" || entry.bits === 8) return bytes;
  const each = 8 / entry.bits, mask = 2 ** entry.bits - 1; // several codes to a byte, the first in the lowest bits
  return Uint8Array.from({ length: bytes.length * each }, (_, n) => (bytes[Math.floor(n / each)] >> (entry.bits * (n % each))) & mask);
}

function number(entry, code) {
  if (entry.kind === "table") return entry.table[code];
  if (entry.kind === "float") return Number.isNaN(code) ? null : code;
  return code === (entry.kind === "byte" ? 255 : 65535) ? null : entry.low + entry.step * code;
}

/* ---- light and dark ---- */

function recoloured(value, twins) {
  if (typeof value === "string") return value.length > 40 ? value : twin(value, twins);
  if (Array.isArray(value)) // a colour scale's pair begins with a number, an array of data ends with one too
    return typeof value[value.length - 1] === "number" ? value : value.map((item) => recoloured(item, twins));
  if (value && typeof value === "object")
    for (const key of Object.keys(value)) value[key] = recoloured(value[key], twins);
  return value;
}

function twin(colour, twins) {
  const rgba = colour.match(/^rgba\((\d+), (\d+), (\d+), ([\d.]+)\)$/);
  if (!rgba) return twins[colour] || colour;
  const hex = (n) => Number(n).toString(16).padStart(2, "0");
  const other = twins["#" + rgba.slice(1, 4).map(hex).join("")];
  if (!other) return colour;
  return `rgba(${[1, 3, 5].map((at) => parseInt(other.slice(at, at + 2), 16)).join(", ")}, ${rgba[4]})`;
}

function pageIsDark(root) {
  const named = document.documentElement.dataset.theme;
  if (named === "light" || named === "dark") return named === "dark";
  // elsewhere the inherited text colour tells: light text means a dark page, whoever chose it
  const rgb = getComputedStyle(root).color.match(/[\d.]+/g).map(Number);
  return 0.299 * rgb[0] + 0.587 * rgb[1] + 0.114 * rgb[2] > 140;
}

function watchTheme(changed) {
  const observer = new MutationObserver(changed);
  for (const node of [document.documentElement, document.body]) observer.observe(node, { attributes: true });
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", changed);
}

/* ---- plotly.js: the page's, the site's, else the pinned copy at its public address ---- */

function loadPlotly({ bundle, source, integrity }) {
  if (bundle === "cartesian" && window.Plotly && window.Plotly.react) return Promise.resolve(window.Plotly);
  const known = (window.explorablePlotly = window.explorablePlotly || {});
  if (known[bundle]) return known[bundle];
  const own = document.querySelector(`meta[name="plotly-${bundle}"]`);
  known[bundle] = new Promise((resolve, reject) => {
    const script = document.createElement("script");
    script.src = own ? own.content : source;
    if (!own) { script.integrity = integrity; script.crossOrigin = "anonymous"; }
    script.onload = () => (window.Plotly ? resolve(window.Plotly) : reject(new Error("plotly.js did not start")));
    script.onerror = () => { delete known[bundle]; reject(new Error(`no ${script.src}`)); };
    document.head.appendChild(script);
  });
  return known[bundle];
}

/* ---- controls ---- */

function element(tag, attributes, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

function makeControls(root, controls, position, moved) {
  const panel = root.querySelector(".explorable-controls");
  panel.classList.toggle("explorable-pairs", controls.length === 4);
  const shows = controls.map((control, n) => {
    const make = { slider: makeSlider, choice: makeChoice, switch: makeSwitch }[control.kind];
    const [node, show] = make(control, `${root.dataset.id}-${n}`, (at) => { position[n] = at; moved(); });
    panel.append(node);
    show(position[n]);
    return () => show(position[n]);
  });
  const reset = element("button", { type: "button", class: "explorable-reset" }, "Reset");
  reset.hidden = true;
  reset.addEventListener("click", () => {
    controls.forEach((control, n) => { position[n] = control.default; });
    moved();
    panel.querySelector("input, select").focus(); // the button hides itself: focus must not fall back to the page
  });
  panel.append(reset);
  for (const control of panel.querySelectorAll("input, select, button")) // or JupyterLab takes the arrow keys for its cells
    control.dataset.lmSuppressShortcuts = "true";
  panel.hidden = false;
  return shows;
}

function caption(control) {
  const text = element("span", { class: "explorable-label" }, control.label);
  if (control.symbol) text.append(" ", element("i", {}, control.symbol));
  return text;
}

function makeSlider(control, id, turned) {
  const value = element("output", { class: "explorable-value", for: id, "aria-live": "off" });
  const range = element("input", { type: "range", id, min: 0, max: control.values.length - 1, step: 1 });
  range.dataset.name = control.name;
  range.addEventListener("input", () => turned(Number(range.value)));
  const show = (at) => {
    range.value = at;
    range.setAttribute("aria-valuetext", control.texts[at]);
    range.style.setProperty("--filled", `${(100 * at) / (control.values.length - 1)}%`);
    value.textContent = control.texts[at];
  };
  const head = element("label", { for: id }, caption(control));
  return [element("div", { class: "explorable-control" }, element("div", { class: "explorable-head" }, head, value), range), show];
}

function makeChoice(control, id, turned) {
  const select = element("select", { id });
  select.dataset.name = control.name;
  control.texts.forEach((text, at) => select.append(element("option", { value: at }, text)));
  select.addEventListener("change", () => turned(Number(select.value)));
  const label = element("label", { for: id }, caption(control));
  return [element("div", { class: "explorable-control" }, label, select), (at) => { select.value = at; }];
}

function makeSwitch(control, id, turned) {
  const box = element("input", { type: "checkbox", id, role: "switch" });
  box.dataset.name = control.name;
  box.addEventListener("change", () => turned(Number(box.checked)));
  const label = element("label", { for: id, class: "explorable-switch" }, box, caption(control));
  return [element("div", { class: "explorable-control" }, label), (at) => { box.checked = at === 1; }];
}
