// What is shown: the points, which of them are within the limits, and the state that a link holds.

async function unpack(text) {
  const bytes = Uint8Array.from(atob(text), (sign) => sign.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).json();
}

if (!("DecompressionStream" in window)) {
  document.body.append(element("p", { class: "message" }, "This browser is too old for the report (DecompressionStream, 2023)."));
  return;
}
const data = await unpack(find("data").textContent);

const points = new Map(data.points.map((point) => [point.name, point]));
const reference = points.get(data.reference);
const COSTS = data.costs.map((figure) => ({
  ...figure, format: (value) => unit((figure.whole ? count : significant)(value), figure.unit),
}));
const AXES = data.axes; // those of the study come first
const inStudy = (axis) => data.objectives.includes(axis.name);

// Evaluations become points of the same form when they are asked for: name e17 is number 17.
const all = data.evaluations;
const places = new Map(all.number.map((number, place) => [number, place]));
const members = new Map(data.points.filter((point) => point.number !== null).map((point) => [point.number, point]));

function evaluation(place) {
  const number = all.number[place];
  if (members.has(number)) return members.get(number);
  const name = `e${number}`;
  if (!points.has(name)) {
    const value = all.score[place];
    points.set(name, {
      name, number, kind: "evaluation", mark: "", digest: null, tuned: null, held_out: null,
      origin: all.origins[all.origin[place]], broken: all.broken[all.limits[place]],
      search: value === null ? null : { value, standard_error: all.error[place], num_images: all.images[place] },
      cost: Object.fromEntries(Object.entries(all.costs).map(([key, column]) => [key, column[place]])),
    });
  }
  return points.get(name);
}

function named(name) {
  const place = /^e\d+$/.test(name) ? places.get(Number(name.slice(1))) : undefined;
  return points.get(name) ?? (place === undefined ? undefined : evaluation(place));
}

const front = data.points.filter((point) => point.kind === "front");
const baselines = data.points.filter((point) => point.kind === "baseline");
const onFront = new Set(front.map((point) => point.number));
const others = all.number.map((number, place) => place).filter((place) => !onFront.has(all.number[place]));

// What a candidate chooses: by the layer or group and by what is chosen.
function choices(point) {
  const place = places.get(point.number);
  if (place === undefined) return null;
  const found = new Map(all.constant.map(([of, field, [value]]) => [`${field}/${of}`, value]));
  [...all.chosen[place]].forEach((sign, axis) => {
    const [of, field, values] = all.axes[axis];
    found.set(`${field}/${of}`, values[sign.codePointAt(0) - 48]);
  });
  return found;
}

const START = {
  name: data.chosen?.name ?? data.points[0]?.name, other: data.reference, cost: AXES[0].name, images: "search",
  whole: false, rows: "front", sort: "", limits: {}, least: null, open: [],
};
const state = { ...START, limits: {}, open: [] };

const over = (point) => {
  if (state.least !== null && !(point.search && point.search.value >= state.least)) return true;
  return Object.entries(state.limits).some(([key, most]) => !(point.cost[key] !== null && point.cost[key] <= most));
};
const overAt = (place) => {
  if (state.least !== null && !(all.score[place] >= state.least)) return true;
  return Object.entries(state.limits).some(([key, most]) => {
    const value = all.costs[key][place];
    return !(value !== null && value <= most);
  });
};

// A link: #p13, then what differs from how the page opens. Browsers refuse to take it many times a second.
const HASH_MS = 100;
let hashTimer = null;

function planHash() {
  hashTimer ??= setTimeout(writeHash, HASH_MS);
}

function writeHash() {
  clearTimeout(hashTimer);
  hashTimer = null;
  const told = new URLSearchParams();
  for (const key of ["other", "cost", "images", "rows", "sort"]) if (state[key] !== START[key]) told.set(key, state[key]);
  if (state.whole) told.set("whole", "1");
  if (state.least !== null) told.set("least", String(state.least));
  for (const [key, most] of Object.entries(state.limits)) told.set(`most.${key}`, String(most));
  if (state.open.length) told.set("open", state.open.join(" "));
  const rest = told.toString();
  history.replaceState(null, "", `#${encodeURIComponent(state.name)}${rest ? `&${rest}` : ""}`);
}

// Takes from a link what this report has, and leaves out the rest.
function readHash() {
  const [first, ...rest] = location.hash.slice(1).split("&");
  let name = "";
  try { name = decodeURIComponent(first); } catch { /* a link that was cut */ }
  clearTimeout(hashTimer);
  hashTimer = null;
  Object.assign(state, START, { limits: {}, open: [] });
  if (named(name)) state.name = name;
  const told = new URLSearchParams(rest.join("&"));
  const take = (key, allowed) => { if (told.has(key) && allowed(told.get(key))) state[key] = told.get(key); };
  take("other", (value) => value === "" || named(value) !== undefined);
  take("cost", (value) => AXES.some((axis) => axis.name === value));
  take("images", (value) => value === "held_out");
  take("rows", (value) => value === "all");
  take("sort", (value) => COLUMNS.some((column) => column.key === value.replace(/^-/, "")));
  state.whole = told.has("whole");
  const least = Number(told.get("least"));
  if (told.has("least") && Number.isFinite(least)) state.least = least;
  for (const { key } of AXES) {
    const most = Number(told.get(`most.${key}`));
    if (told.has(`most.${key}`) && Number.isFinite(most)) state.limits[key] = most;
  }
  state.open = (told.get("open") ?? "").split(" ").filter((id) => id);
}
