// Elements and numbers. Strings enter the page as text nodes only: no name can become markup.

function element(tag, attributes, ...children) {
  return filled(document.createElement(tag), attributes, children);
}

function svg(tag, attributes, ...children) {
  return filled(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);
}

// Children are nodes or strings; null is left out.
function filled(node, attributes, children) {
  for (const [key, value] of Object.entries(attributes ?? {})) {
    if (key === "style") Object.assign(node.style, value);
    else if (typeof value === "function") node.addEventListener(key, value);
    else if (value !== null && value !== false) node.setAttribute(key, value === true ? "" : value);
  }
  node.append(...children.flat(2).filter((child) => child !== null));
  return node;
}

const find = (id) => document.getElementById(id);
const put = (id, ...children) => find(id).replaceChildren(...children);
const cell = (...children) => element("td", null, ...children);
const number = (...children) => element("td", { class: "number" }, ...children);
const small = (text) => element("small", null, text);
const caption = (text) => element("p", { class: "caption" }, text);

// A heading is [title, what stands small below it, class].
function table(headings, rows) {
  const head = headings.map(([title, under, kind]) =>
    element("th", { scope: "col", class: kind ?? "" }, title, under ? small(under) : null));
  return element("table", null, element("thead", null, element("tr", null, head)), element("tbody", null, rows));
}

function pairs(entries, empty) {
  if (!entries.length) return caption(empty);
  return element("table", null, element("tbody", null,
    entries.map(([key, value]) => element("tr", null, cell(key), cell(value)))));
}

// Radio buttons in the place of an element of that id.
function segments(id, options, chosen, change) {
  put(id, ...options.map(([value, title]) => {
    const input = element("input", { type: "radio", name: id, value, change: () => change(value) });
    input.checked = value === chosen;
    return element("label", null, input, element("span", null, title));
  }));
}

// Numbers; "n/a" stands for null throughout.

function significant(value) {
  if (value === null || value === undefined) return "n/a";
  if (value !== 0 && Math.abs(value) < 1e-4) return value.toExponential(2);
  const whole = value === 0 ? 1 : Math.floor(Math.log10(Math.abs(value))) + 1;
  return grouped(Math.min(Math.max(4 - whole, 0), 12)).format(value);
}

// toLocaleString makes such a formatter at every call, which takes longer than all else in a table of 300 layers.
const formatters = [];
const grouped = (digits) =>
  formatters[digits] ??= new Intl.NumberFormat("en-US", { minimumFractionDigits: digits, maximumFractionDigits: digits });

const SHORT = { bytes: "B" };
const counted = new Intl.NumberFormat("en-US");
const count = (value) => (value === null || value === undefined ? "n/a" : counted.format(value));
const unit = (text, name) => (text === "n/a" || !name ? text : `${text} ${SHORT[name] ?? name}`);
const percent = (share, digits = 0) => (share === null ? "n/a" : `${(100 * share).toFixed(digits)} %`);
const inPercent = (score) => `${(100 * score.value).toFixed(2)} ± ${(100 * score.standard_error).toFixed(2)}`;
const accuracy = (score) => (score && score.num_images ? `${inPercent(score)} %` : "n/a");

// Points of the score gained or lost, with the sign written out.
function difference(score, other) {
  if (!score?.num_images || !other?.num_images) return "n/a";
  const points = 100 * (score.value - other.value);
  return `${points < 0 ? "−" : "+"}${Math.abs(points).toFixed(2)} pp`;
}

const ratio = (point, other, key) => {
  const value = point.cost[key], divisor = other?.cost[key];
  return value === null || value === undefined || !divisor ? null : value / divisor;
};

// What leaves the page: to the clipboard, or as a file.

async function copy(text, button) {
  let done = true;
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    const field = element("textarea", { class: "offscreen", readonly: true }, text);
    document.body.append(field);
    field.select();
    done = document.execCommand("copy");
    field.remove();
    button.focus();
  }
  const before = button.dataset.title ?? button.textContent;
  button.dataset.title = before;
  button.textContent = done ? "Copied" : "Copy it by hand";
  setTimeout(() => { button.textContent = before; }, 1500);
}

function download(text, name, type) {
  const address = URL.createObjectURL(new Blob([text], { type }));
  element("a", { href: address, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(address), 10_000);
}

// A text that a spreadsheet would take for a formula gets an apostrophe first.
function inCsv(value) {
  if (value === null || value === undefined) return "";
  if (typeof value === "number") return String(value);
  const text = /^\s*[=+\-@]/.test(value) && Number.isNaN(Number(value)) ? `'${value}` : String(value);
  return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}
