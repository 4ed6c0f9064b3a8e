// The table of the points: sorted, within limits or grey, as many rows at once as stay quick.

const AT_ONCE = 100; // rows that are put into the page at a time
let rowsShown = AT_ONCE;

const studied = data.costs.filter((figure) => AXES.some((axis) => axis.key === figure.key && inStudy(axis))).map((figure) => figure.key);
const anyTuned = front.some((point) => point.tuned);
const scoreColumn = (key, title, read) => ({
  key, title, under: `${data.score_name} %`, value: (point) => (read(point)?.num_images ? read(point).value : null),
  show: (point) => { const score = read(point); return score?.num_images ? [(100 * score.value).toFixed(2), small(` ±${(100 * score.standard_error).toFixed(2)}`)] : ["–"]; },
});
const COLUMNS = [
  { key: "name", title: "Point", value: (point) => point.number ?? -1 },
  scoreColumn("search", "Search", (point) => point.search),
  scoreColumn("held_out", "Held-out", (point) => point.held_out),
  ...(anyTuned ? [scoreColumn("tuned", "Tuned", (point) => point.tuned?.held_out)] : []),
  ...AXES.map((axis) => {
    const figure = data.costs.find((entry) => entry.key === axis.key), inside = inStudy(axis);
    return {
      key: axis.key, title: figure.heading, under: figure.unit, extra: !inside, value: (point) => point.cost[axis.key] ?? null,
      show: (point) => {
        const share = axis.key === studied[0] && point !== reference ? ratio(point, reference, axis.key) : null;
        return [(figure.whole ? count : significant)(point.cost[axis.key]), share === null ? null : small(` ${percent(share)}`)];
      },
    };
  }),
  { key: "origin", title: "Origin", extra: true, text: true, value: (point) => point.origin },
];

// Baselines stay on top; what is unknown comes last, whichever way it is sorted.
function sortPoints(some) {
  if (!state.sort) return some;
  const descending = state.sort.startsWith("-"), key = state.sort.replace(/^-/, "");
  const { value } = COLUMNS.find((column) => column.key === key);
  const keyed = some.map((point) => [value(point), point]);
  keyed.sort(([a], [b]) => {
    if (a === null || b === null) return (a === null) - (b === null);
    const order = typeof a === "string" ? a.localeCompare(b) : a - b;
    return descending ? -order : order;
  });
  return keyed.map(([, point]) => point);
}

function listPoints() {
  return sortPoints(state.rows === "all" ? all.number.map((number, place) => evaluation(place)) : front);
}

// Badges say what the other signs do.
const signs = (point) => point.mark.replace(/[>*]/g, "");

const callChosen = data.chosen ? `${data.chosen.called}${data.chosen.tuned ? ", fine-tuned" : ""}` : "";

function tellMarks(point) {
  const told = [point.name === data.chosen?.name ? callChosen : "", point.name === data.knee ? "knee" : ""].filter(Boolean);
  if (over(point)) told.push("over a limit");
  else if (point.broken) told.push("over a budget");
  return told.map((said) => element("span", { class: `badge ${said.split(" ")[0]}` }, said));
}

function makeRow(point, last) {
  const chosen = point.name === state.name;
  const row = element("tr", { class: [point.kind, last ? "rule" : "", chosen ? "selected" : "", over(point) ? "over" : ""].filter(Boolean).join(" ") },
    element("th", { scope: "row" },
      element("button", { type: "button", "aria-pressed": String(chosen), tabindex: chosen ? "0" : "-1" }, point.name),
      signs(point) ? ` ${signs(point)} ` : " ", tellMarks(point)),
    COLUMNS.slice(1).map((column) => element("td", { class: `${column.text ? "origin" : "number"}${column.extra ? " extra" : ""}` },
      column.text ? point.origin : column.show(point))));
  row.dataset.name = point.name;
  return row;
}

function showTable() {
  const listed = listPoints(), shown = listed.slice(0, rowsShown);
  const head = COLUMNS.map(({ key, title, under, text: isText, extra }, index) => {
    const sorted = state.sort.replace(/^-/, "") === key;
    const way = sorted ? (state.sort.startsWith("-") ? "descending" : "ascending") : null;
    return element("th", { scope: "col", "aria-sort": way, class: `${index && !isText ? "number" : ""}${extra ? " extra" : ""}` },
      element("button", { type: "button", "data-sort": key }, title, sorted ? element("span", { "aria-hidden": "true" }, way === "ascending" ? " ▲" : " ▼") : null,
        under ? small(under) : null));
  });
  const rows = [...baselines.map((point, index) => makeRow(point, index === baselines.length - 1)), ...shown.map((point) => makeRow(point, false))];
  if (![...baselines, ...shown].some((point) => point.name === state.name)) rows[0]?.querySelector("button").setAttribute("tabindex", "0");
  const left = listed.length - shown.length;
  const more = left > 0 ? element("button", { type: "button", class: "more" }, `Show ${count(Math.min(AT_ONCE, left))} more of ${count(left)}`) : null;
  put("front", element("table", null, element("thead", null, element("tr", null, head)), element("tbody", null, rows)), ...(more ? [more] : []));
  const within = listed.filter((point) => !over(point));
  find("download").textContent = `Download ${count(within.length)} ${within.length === 1 ? "row" : "rows"} as CSV`;
}

function markRow() {
  for (const row of find("front").querySelectorAll("tbody tr")) {
    const chosen = row.dataset.name === state.name, button = row.querySelector("button");
    row.classList.toggle("selected", chosen);
    button.setAttribute("aria-pressed", String(chosen));
    button.setAttribute("tabindex", chosen ? "0" : "-1");
    if (chosen) reveal(row);
  }
}

// Scrolls the table only, never the page, which would take the figure away under the pointer.
function reveal(row) {
  const box = find("front"), top = row.offsetTop, bottom = top + row.offsetHeight;
  if (top < box.scrollTop + 60 || bottom > box.scrollTop + box.clientHeight) box.scrollTop = top - box.clientHeight / 2;
}

// Rows within the limits, in the order shown, with what each chooses for every layer.
function downloadRows() {
  const keys = data.costs.map((figure) => figure.key);
  const names = [...new Set(listPoints().flatMap((point) => [...(choices(point) ?? new Map()).keys()]))];
  const score = data.score_name;
  const head = ["name", "evaluation", `${score}_search`, "standard_error_search", `${score}_held_out`, "standard_error_held_out", ...keys, "origin", ...names];
  const lines = listPoints().filter((point) => !over(point)).map((point) => {
    const chosen = choices(point), held = point.held_out?.num_images ? point.held_out : null;
    return [point.name, point.number, point.search?.value, point.search?.standard_error, held?.value, held?.standard_error,
      ...keys.map((key) => point.cost[key]), point.origin, ...names.map((name) => chosen?.get(name))];
  });
  download([head, ...lines].map((row) => row.map(inCsv).join(",")).join("\n") + "\n", state.rows === "all" ? "evaluations.csv" : "front.csv", "text/csv");
}

function listenToTable() {
  const box = find("front");
  box.addEventListener("click", (event) => {
    const sort = event.target.closest("[data-sort]"), row = event.target.closest("tbody tr");
    if (sort) {
      const key = sort.dataset.sort;
      state.sort = state.sort === key ? `-${key}` : state.sort === `-${key}` ? "" : key;
      update("table");
      box.querySelector(`[data-sort="${CSS.escape(key)}"]`).focus();
    } else if (event.target.closest(".more")) {
      rowsShown += AT_ONCE;
      showTable();
    } else if (row) select(row.dataset.name);
  });
  box.addEventListener("keydown", (event) => {
    const row = event.target.closest("tbody tr");
    if (!row) return;
    const rows = [...row.parentNode.children], place = rows.indexOf(row);
    const next = { ArrowDown: place + 1, ArrowUp: place - 1, Home: 0, End: rows.length - 1 }[event.key];
    if (next === undefined || !rows[next]) return;
    event.preventDefault();
    rows[next].querySelector("button").focus();
    select(rows[next].dataset.name);
  });
  find("download").addEventListener("click", downloadRows);
}
