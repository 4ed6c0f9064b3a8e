// The chosen point: its numbers next to another one's, how it is exported, and the limits.

const COMPONENTS = {
  mac: ["MAC array", BLUE], register: ["Registers", GREEN], network: ["Array network", "#f0e442"],
  sram: ["SRAM", SKY], dram: ["DRAM", ORANGE], vector: ["Vector unit", VERMILION], static: ["Static", FAINT],
};
const component = (name) => COMPONENTS[name] ?? [name, PURPLE];
const compared = (point) => { const other = named(state.other); return other && other !== point ? other : null; };

function showSelection(point) {
  const shown = COSTS.filter((figure) => studied.includes(figure.key));
  put("selected",
    element("strong", null, point.name, " ", tellMarks(point)),
    element("span", null, point.search ? `search ${accuracy(point.search)}` : "not scored"),
    point.held_out?.num_images ? element("span", null, `held-out ${accuracy(point.held_out)}`) : "",
    ...shown.map(({ heading, key, format }, index) => {
      const share = index || point === reference ? null : ratio(point, reference, key);
      return element("span", null, `${heading.toLowerCase()} ${format(point.cost[key])}${share === null ? "" : ` (${percent(share)} of ${data.reference})`}`);
    }));
}

function showOther(point) {
  const option = (entry) => { const node = element("option", { value: entry.name }, entry.name); node.selected = entry.name === state.other; return node; };
  const listed = [...baselines, ...front], other = named(state.other);
  if (other && !listed.includes(other)) listed.push(other);
  put("other", element("option", { value: "" }, "nothing"), ...listed.filter((entry) => entry !== point).map(option));
  if (other === point) find("other").value = "";
}

function showNumbers(point) {
  const other = compared(point);
  put("details-heading", other ? `${point.name} next to ${other.name}` : point.name);
  const origin = point.number === null ? "Baseline" : `Evaluation ${point.number} · ${point.origin}${point.digest ? ` · candidate ${point.digest}` : ""}`;
  const images = [[point.search, "search"], [point.held_out, "held-out"]].filter(([score]) => score?.num_images);
  put("origin", [origin, ...images.map(([score, title]) => `${count(score.num_images)} ${title} images`), point.broken].filter(Boolean).join(" · "));
  const scores = [["Search", "search"], ["Held-out", "held_out"]].map(([title, key]) =>
    element("tr", null, element("th", { scope: "row" }, `${title} ${data.score_name}, %`),
      number(point[key]?.num_images ? inPercent(point[key]) : "–"),
      other ? [number(other[key]?.num_images ? inPercent(other[key]) : "–"), number(difference(point[key], other[key]))] : null));
  const tuned = point.tuned ? [["Search", "search"], ["Held-out", "held_out"]].map(([title, key]) =>
    element("tr", null, element("th", { scope: "row" }, `${title}, fine-tuned, %`), number(inPercent(point.tuned[key])),
      other ? [number((other.tuned ?? other)[key]?.num_images ? inPercent((other.tuned ?? other)[key]) : "–"), number(difference(point.tuned[key], (other.tuned ?? other)[key]))] : null)) : [];
  const costs = COSTS.filter(({ key }) => point.cost[key] !== undefined).map(({ heading, unit: of, key, whole }) => {
    const show = whole ? count : significant;
    return element("tr", null, element("th", { scope: "row" }, of ? `${heading}, ${of}` : heading), number(show(point.cost[key])),
      other ? [number(show(other.cost[key])), number(percent(ratio(point, other, key)))] : null);
  });
  const headings = [[""], [point.name, "", "number"]];
  if (other) headings.push([other.name, "", "number"], ["", "", "number"]);
  put("numbers", table(headings, [...scores, ...tuned, ...costs]));
}

function showComponents(point) {
  const other = compared(point), known = [point, ...(other ? [other] : [])].filter((entry) => entry.cost.energy_uj_by_component && entry.cost.energy_uj !== null);
  if (!known.includes(point)) {
    put("components", caption(point.kind === "evaluation" ? "Known of members of the front only." : "n/a: this network does not run on the device."));
    return;
  }
  const total = (entry) => Object.values(entry.cost.energy_uj_by_component).reduce((sum, value) => sum + value, 0);
  const widest = Math.max(...known.map(total)) || 1;
  const bars = known.flatMap((entry) => [
    element("span", null, entry.name),
    element("div", { role: "presentation" }, Object.entries(entry.cost.energy_uj_by_component).map(([name, value]) =>
      element("i", { style: { width: `${(100 * value) / widest}%`, background: component(name)[1] } }))),
  ]);
  const rows = Object.entries(point.cost.energy_uj_by_component).map(([name]) => element("tr", null,
    cell(element("span", { class: "swatch", style: { background: component(name)[1] } }), component(name)[0]),
    known.map((entry) => {
      const part = entry.cost.energy_uj_by_component[name] ?? 0;
      return number(`${significant(part)} `, small(percent(total(entry) ? part / total(entry) : null)));
    })));
  put("components", element("div", { class: "stack" }, bars), table([["Component"], ...known.map((entry) => [entry.name, "µJ", "number"])], rows));
}

function showFits(point) {
  const rows = (point.cost.fits ?? []).map((fit) => {
    const [kind, name] = fit.place.split(".");
    const lacks = fit.needed_bytes > fit.size_bytes ? (fit.required ? " does not fit" : " overflows") : "";
    return element("tr", { class: lacks && fit.required ? "lacking" : "" },
      cell(`${name.replaceAll("+", " + ")} `, small(kind === "memories" ? `for ${fit.holds.join(", ")}` : kind)),
      number(count(fit.needed_bytes)),
      number(count(fit.size_bytes)), number(percent(fit.needed_bytes / fit.size_bytes, 1), lacks ? small(lacks) : null));
  });
  const headings = [["Place"], ["Needed", "bytes", "number"], ["Size", "bytes", "number"], ["Filled", "", "number"]];
  put("fits", ...(rows.length ? [element("h3", null, "Memory"), table(headings, rows)] : []));
}

// The folder of the run is the one that this file lies in; RUN stands for it where the page was opened from elsewhere.
function runFolder() {
  if (location.protocol !== "file:") return "RUN";
  const path = decodeURIComponent(location.pathname).replace(/\/[^/]*$/, "") || "/";
  return /^\/[A-Za-z]:/.test(path) ? path.slice(1) : path;
}

const quoted = (word) => (/^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'"'"'`)}'`);
const exported = { format: data.formats.find((entry) => !entry.refused)?.name, tuned: data.chosen?.tuned ?? false };

function exportCommand(point) {
  const folder = runFolder(), isDefault = exported.format === data.formats[0].name;
  const words = ["explorer", "export", folder, "--pick", point.name];
  if (exported.tuned && point.tuned) words.push("--tuned");
  if (!isDefault) words.push("--format", exported.format);
  return [...words, "--to", `${folder === "/" ? "" : folder}/export-${point.name}`].map(quoted).join(" ");
}

function showExport(point) {
  if (point.kind !== "front") {
    put("export", caption(point.kind === "baseline" ? "Choose a member of the front to export it." : "Only members of the front can be exported."));
    return;
  }
  const offered = data.formats.filter((entry) => !entry.refused);
  if (!offered.length) { put("export", caption("This network can be exported in no format; the remarks above say why.")); return; }
  const options = offered.map(({ name, summary }) => element("option", { value: name, selected: name === exported.format }, `${name}: ${summary}`));
  const change = () => showExport(point);
  const command = element("code", { id: "command", tabindex: "0" }, exportCommand(point));
  const tuned = element("input", { type: "checkbox", change: (event) => { exported.tuned = event.target.checked; change(); } });
  tuned.checked = exported.tuned;
  put("export",
    element("div", { class: "controls" },
      element("label", { class: "choice" }, "Format ", element("select", { id: "format", change: (event) => { exported.format = event.target.value; change(); } }, options)),
      point.tuned ? element("label", { class: "check" }, tuned, " fine-tuned") : null),
    element("div", { class: "command" }, command,
      element("button", { type: "button", id: "copy", click: (event) => copy(command.textContent, event.currentTarget) }, "Copy")),
    caption(runFolder() === "RUN" ? "RUN is the folder of the run." : "For a terminal on this machine; the folder is the one that this page lies in."));
}

// Limits: one slider for each cost and one for the score, on the scale of what was found.

function showLimits() {
  const make = (key, title, of, values, isCost) => {
    const known = values.filter((value) => value !== null && value !== undefined);
    if (new Set(known).size < 2) return null;
    const low = Math.min(...known), high = Math.max(...known), wide = isCost && low > 0 && high > 4 * low;
    const at = (step) => (wide ? low * (high / low) ** (step / 1000) : low + ((high - low) * step) / 1000);
    const step = (value) => Math.round(1000 * (wide ? Math.log(value / low) / Math.log(high / low) : (value - low) / (high - low)));
    const now = isCost ? state.limits[key] : state.least;
    const set = (value) => {
      const off = value === null || !Number.isFinite(value);
      if (!isCost) state.least = off ? null : value;
      else if (off) delete state.limits[key];
      else state.limits[key] = value;
      update("limits");
    };
    const slider = element("input", { type: "range", min: 0, max: 1000, "data-limit": key, "aria-label": `${isCost ? "at most" : "at least"}: ${title}` });
    const field = element("input", { type: "number", step: "any", inputmode: "decimal", placeholder: "any", "data-limit": key, "aria-label": `${title}, ${of}` });
    const scaled = isCost ? 1 : 100;
    const write = (value) => { field.value = value === null || value === undefined ? "" : Number((scaled * value).toPrecision(5)); };
    slider.value = now === undefined || now === null ? (isCost ? 1000 : 0) : step(now);
    write(now);
    slider.addEventListener("input", () => {
      const end = Number(slider.value) === (isCost ? 1000 : 0), value = end ? null : Number(at(Number(slider.value)).toPrecision(5));
      write(value);
      set(value);
    });
    field.addEventListener("change", () => {
      const value = field.value === "" ? null : Number(field.value) / scaled;
      slider.value = value === null ? (isCost ? 1000 : 0) : step(Math.min(Math.max(value, low), high));
      set(value);
    });
    return element("div", { class: "limit" }, element("span", null, `${title} ${isCost ? "≤" : "≥"}`), slider, field, element("span", null, of));
  };
  const values = (key) => [...front.map((point) => point.cost[key]), ...all.costs[key]];
  put("limits", make("score", data.score, "%", [...front.map((point) => point.search?.value), ...all.score], false) ?? "",
    ...AXES.map((axis) => make(axis.key, data.costs.find((figure) => figure.key === axis.key).heading, axis.unit, values(axis.key), true) ?? ""));
}

function tellWithin() {
  const kept = front.filter((point) => !over(point)).length, some = Object.keys(state.limits).length || state.least !== null;
  put("within", some ? `${count(kept)} of ${count(front.length)} members of the front are within.` : "No limits are set.");
  find("no-limits").hidden = !some;
}
