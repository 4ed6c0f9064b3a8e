// The layers of the chosen point, next to those of the one that it is compared with: what differs is marked.

const isOperation = (row) => row.filters === null;
const orDash = (value) => (value === null || value === undefined ? "–" : count(value)); // null: it has no such thing

// What is known of the layers of an evaluation that is not on the front: what it chooses, and no costs.
function layersOf(point) {
  if (point.cost.layers) return point.cost.layers;
  const chosen = choices(point);
  const model = (front[0] ?? reference)?.cost.layers ?? [];
  if (!chosen) return [];
  const names = new Set([...chosen.keys()].filter((key) => key.startsWith("weight bits/")).map((key) => key.slice(12)));
  return [...names].filter((layer) => chosen.get(`weight bits/${layer}`) !== "removed").map((layer) => {
    const known = model.find((row) => row.layer === layer);
    const share = chosen.get(`filters kept/${layer}`);
    return {
      layer, kind: known?.kind ?? "", weight_bits: chosen.get(`weight bits/${layer}`), step: chosen.get(`weight step/${layer}`),
      activation_bits: chosen.get(`input bits/${layer}`), weight_density: chosen.get(`weights kept/${layer}`),
      codebook_size: chosen.get(`codebook/${layer}`), filters: share, partial: true,
    };
  });
}

const bits = (row) => `${row.step ? `step ${row.step.toPrecision(2)}` : orDash(row.weight_bits)} / ${orDash(row.activation_bits)}`;
const keptFilters = (row) => {
  if (row.partial) return row.filters === undefined ? "–" : percent(row.filters);
  return isOperation(row) ? "–" : `${count(row.filters)} of ${count(row.filters_of)}`;
};
const density = (row) => (row.weight_density === null || row.weight_density === undefined ? "–" : percent(row.weight_density, row.weight_density < 0.1 ? 1 : 0));
const LAYER_COLUMNS = [
  ["Bits", "weights / inputs", bits], ["Filters", "kept of", keptFilters], ["Weights", "kept", density],
  ["Codebook", "values", (row) => orDash(row.codebook_size)],
  ["MACs", "or operations", (row) => (row.partial ? "–" : count(isOperation(row) ? row.vector_operations : row.macs))],
  ["Energy", "µJ", (row) => (row.partial ? "–" : significant(row.energy_uj))],
  ["Latency", "cycles", (row) => orDash(row.latency_cycles)],
  ["Weights", "bytes, format", (row) => (row.partial || row.weight_format === null ? "–" : `${count(row.weight_bytes)} ${row.weight_format}`)],
];
const DECIDED = 4; // so many of the columns are what was chosen

const LAYERS_AT_ONCE = 40; // rows that a choice shows at once; those behind follow as soon as these are painted
let addLayers = () => {}; // puts into the page what is left

function showLayers(point) {
  const other = compared(point), layers = layersOf(point), beside = new Map(other ? layersOf(other).map((row) => [row.layer, row]) : []);
  put("layers-heading", `Layers of ${point.name}`);
  const widest = Math.max(...[...layers, ...beside.values()].map((row) => row.energy_uj ?? 0), 1e-30);
  const said = [];
  if (beside.size && layers.length) said.push(`Below each entry, in grey, that of ${other.name}; ≠ marks choices that differ. Energy bars are on one scale: blue is ${point.name}, grey behind it ${other.name}.`);
  if (layers.some((row) => !row.partial && isOperation(row)))
    said.push("Indented rows have no weights; fused ones work on results as they leave the array and take no time of their own.");
  if (layers.some((row) => row.partial)) said.push("Costs of layers are kept for members of the front only.");
  const one = (row, before, read, decided) => {
    const own = read(row), theirs = before ? read(before) : null;
    const differs = decided && before && own !== theirs && own !== "–";
    return element("td", { class: `number${differs ? " differs" : ""}` },
      element("span", { class: "own" }, differs ? element("span", { class: "sign", title: "differs" }, "≠ ") : null, own), theirs === null ? null : element("span", { class: "theirs" }, theirs));
  };
  const makeLayer = (row) => {
    const before = beside.get(row.layer);
    const [chosen, costs] = [LAYER_COLUMNS.slice(0, DECIDED), LAYER_COLUMNS.slice(DECIDED)].map((some, part) => some.map(([, , read]) => one(row, before, read, part === 0)));
    return element("tr", { class: !row.partial && isOperation(row) ? "operation" : "" },
      element("th", { scope: "row" }, row.layer), cell(row.kind), chosen, costs.slice(0, 2),
      cell(row.partial ? "" : meter(row.energy_uj, before?.energy_uj ?? 0, widest)), costs.slice(2), cell(row.bound ?? "–"));
  };
  const gone = [...beside.keys()].filter((name) => !layers.some((row) => row.layer === name));
  if (gone.length && layers.length) said.push(`Only ${other.name} has ${gone.join(", ")}.`);
  put("layers-caption", said.join(" "));
  const numbers = LAYER_COLUMNS.map(([title, under]) => [title, under, "number"]);
  const headings = [["Layer"], ["Kind"], ...numbers.slice(0, DECIDED + 2), ["", ""], ...numbers.slice(DECIDED + 2), ["Bound", "by"]];
  const shown = layers.length ? table(headings, layers.slice(0, LAYERS_AT_ONCE).map(makeLayer)) : null;
  let left = layers.slice(LAYERS_AT_ONCE);
  addLayers = () => { shown?.tBodies[0].append(...left.map(makeLayer)); left = []; };
  if (left.length) requestAnimationFrame(() => setTimeout(() => { if (shown.isConnected) addLayers(); }));
  put("layers", shown ?? caption("No layer table: this network was not costed on the device."));
  const notes = (point.cost.notes ?? []).map((note) => element("li", null, note));
  put("notes", ...(point.kind === "evaluation" ? [] : [element("h3", null, `Notes on ${point.name}`),
    notes.length ? element("ul", null, notes) : caption("None.")]));
}

function meter(value, before, widest) {
  const bar = (kind, size) => element("i", { class: kind, style: { width: `${(100 * size) / widest}%` } });
  return element("div", { class: "meter", role: "presentation" }, bar("reference", before), bar("value", value));
}
