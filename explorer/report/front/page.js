// Draws the report from the JSON of #data. Strings enter the page as text nodes only: no name can become markup.
"use strict";

(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const points = new Map(data.points.map((point) => [point.name, point]));
  const reference = points.get(data.reference);
  const narrow = window.matchMedia("(max-width: 640px)");
  const plot = document.getElementById("plot");
  const state = { axis: data.axes[0].name, split: "search", name: data.chosen ?? data.points[0]?.name };

  const CLICK_RADIUS = 8; // pixels: what a marker of the front covers
  const SPLITS = [["search", "search"], ["held_out", "held-out"]];
  const SHORT = { bytes: "B" };
  const COSTS = data.costs.map((figure) => ({ ...figure, format: formatter(figure) }));
  const COMPONENTS = {
    mac: ["MAC array", "#0072B2"], register: ["Registers", "#009E73"], network: ["Array network", "#F0E442"],
    sram: ["SRAM", "#56B4E9"], dram: ["DRAM", "#E69F00"], vector: ["Vector unit", "#D55E00"], static: ["Static", "#9aa7b4"],
  };

  // Elements. Children are nodes or strings; null is left out.

  function element(tag, attributes, ...children) {
    const node = document.createElement(tag);
    for (const [key, value] of Object.entries(attributes ?? {})) {
      if (key === "style") Object.assign(node.style, value);
      else node.setAttribute(key, value);
    }
    node.append(...children.flat().filter((child) => child !== null));
    return node;
  }

  const put = (id, ...children) => document.getElementById(id).replaceChildren(...children);
  const cell = (...children) => element("td", null, ...children);
  const number = (...children) => element("td", { class: "number" }, ...children);
  const small = (text) => element("small", null, text);

  function table(headings, rows) {
    const head = headings.map(([title, under, kind]) =>
      element("th", { scope: "col", class: kind ?? "" }, title, under ? small(under) : null));
    return element("table", null, element("thead", null, element("tr", null, head)), element("tbody", null, rows));
  }

  function pairs(entries, empty) {
    if (!entries.length) return element("p", { class: "caption" }, empty);
    return element("table", null, element("tbody", null,
      entries.map(([key, value]) => element("tr", null, cell(key), cell(value)))));
  }

  // Numbers; "n/a" stands for null throughout.

  function significant(value) {
    if (value === null) return "n/a";
    if (value !== 0 && Math.abs(value) < 1e-4) return value.toExponential(2);
    const whole = value === 0 ? 1 : Math.floor(Math.log10(Math.abs(value))) + 1;
    const digits = Math.min(Math.max(4 - whole, 0), 12);
    return value.toLocaleString("en-US", { minimumFractionDigits: digits, maximumFractionDigits: digits });
  }

  const count = (value) => (value === null ? "n/a" : value.toLocaleString("en-US"));
  const unit = (text, name) => (text === "n/a" || !name ? text : `${text} ${name}`);
  function formatter(figure) {
    return (value) => unit((figure.whole ? count : significant)(value), SHORT[figure.unit] ?? figure.unit);
  }
  const percent = (share, digits = 0) => (share === null ? "n/a" : `${(100 * share).toFixed(digits)} %`);
  const accuracy = (score) => `${(100 * score.value).toFixed(2)} ± ${(100 * score.standard_error).toFixed(2)} %`;
  const ratio = (point, key) => {
    const value = point.cost[key], divisor = reference?.cost[key];
    return value === null || !divisor ? null : value / divisor;
  };

  // Points of the score gained or lost, with the sign written out.
  function difference(score, other) {
    const points = 100 * (score.value - other.value);
    return `${points < 0 ? "−" : "+"}${Math.abs(points).toFixed(2)} pp`;
  }

  // The figure.

  function draw() {
    if (!data.points.length) return;
    const { data: traces, layout: made, caption } = data.figures[state.axis][state.split];
    const layout = structuredClone(made);
    const shown = structuredClone(traces);
    if (narrow.matches) {
      layout.font.size = 11;
      layout.margin = { l: 48, r: 8, t: 30, b: 50 };
      layout.legend.y = -0.2;
      for (const trace of shown) if (trace.mode === "markers+text") trace.mode = "markers";
    }
    const config = {
      responsive: true, displaylogo: false, modeBarButtons: [["zoom2d", "pan2d", "resetScale2d", "toImage"]],
      toImageButtonOptions: { format: "svg", filename: "front" },
    };
    Plotly.react(plot, shown, layout, config);
    put("caption", data.chosen === null ? `The front is empty: no candidate kept the budgets. ${caption}` : caption);
    moveRing();
  }

  function position(name) {
    for (const trace of plot.data) {
      const index = (trace.customdata ?? []).indexOf(name);
      if (index >= 0) return [[trace.x[index]], [trace.y[index]]];
    }
    return [[], []];
  }

  function moveRing() {
    const ring = plot.data.findIndex((trace) => trace.meta === "selected");
    const [x, y] = position(state.name);
    Plotly.restyle(plot, { x: [x], y: [y] }, [ring]);
  }

  function segments(id, key, options) {
    put(id, ...options.map(([value, title]) => {
      const input = element("input", { type: "radio", name: key, value });
      input.checked = state[key] === value;
      input.addEventListener("change", () => { state[key] = value; draw(); });
      return element("label", null, input, element("span", null, title));
    }));
  }

  // The chosen point.

  function select(name) {
    state.name = name;
    const point = points.get(name);
    for (const row of document.querySelectorAll("#front tbody tr")) {
      const chosen = row.dataset.name === name;
      row.classList.toggle("selected", chosen);
      row.querySelector("button").setAttribute("aria-pressed", String(chosen));
      if (chosen) reveal(row);
    }
    showSelection(point);
    showNumbers(point);
    showComponents(point);
    showFits(point);
    showLayers(point);
    if (plot.data) moveRing();
  }

  // Scrolls the table only, never the page, which would take the figure away under the pointer.
  function reveal(row) {
    const box = document.getElementById("front");
    const top = row.offsetTop, bottom = top + row.offsetHeight;
    if (top < box.scrollTop + 60 || bottom > box.scrollTop + box.clientHeight) box.scrollTop = top - box.clientHeight / 2;
  }

  function showSelection(point) {
    const share = ratio(point, COSTS[0].key);
    const compared = share !== null && point !== reference ? ` (${percent(share)} of ${data.reference})` : "";
    const chosen = COSTS.filter((figure) => data.axes.some((axis) => axis.key === figure.key));
    put("selection",
      element("strong", null, point.name),
      element("span", null, `search ${accuracy(point.search)}`),
      element("span", null, `held-out ${accuracy(point.held_out)}`),
      ...chosen.map(({ heading, key, format }, index) =>
        element("span", null, `${heading.toLowerCase()} ${format(point.cost[key])}${index ? "" : compared}`)));
  }

  function showNumbers(point) {
    const compared = reference && point !== reference;
    put("details-heading", compared ? `${point.name} next to ${data.reference}` : point.name);
    const origin = point.number === null ? "Baseline" : `Evaluation ${point.number} · ${point.origin} · candidate ${point.digest}`;
    put("origin", `${origin} · ${count(point.search.num_images)} search and ${count(point.held_out.num_images)} held-out images`);
    const scores = [[`Search ${data.score_name}`, "search"], [`Held-out ${data.score_name}`, "held_out"]].map(([title, key]) =>
      element("tr", null, element("th", { scope: "row" }, title),
        number(accuracy(point[key])),
        compared ? [number(accuracy(reference[key])), number(difference(point[key], reference[key]))] : null));
    const costs = COSTS.map(({ heading, key, format }) =>
      element("tr", null, element("th", { scope: "row" }, heading), number(format(point.cost[key])),
        compared ? [number(format(reference.cost[key])), number(percent(ratio(point, key)))] : null));
    const headings = [[""], [point.name, "", "number"]];
    if (compared) headings.push([data.reference, "", "number"], ["relative", "", "number"]);
    const tuned = point.tuned ? [["Search", "search"], ["Held-out", "held_out"]].map(([title, key]) =>
      element("tr", null, element("th", { scope: "row" }, `${title}, fine-tuned`), number(accuracy(point.tuned[key])),
        compared ? [number(accuracy(reference[key])), number(difference(point.tuned[key], reference[key]))] : null)) : [];
    put("numbers", table(headings, [...scores, ...tuned, ...costs]));
  }

  function showComponents(point) {
    const shown = reference && point !== reference ? [point, reference] : [point];
    const known = shown.filter((entry) => entry.cost.energy_uj !== null);
    if (!known.includes(point)) {
      put("components", element("p", { class: "caption" }, "n/a: this network does not run on the device."));
      return;
    }
    const total = (entry) => Object.values(entry.cost.energy_uj_by_component).reduce((sum, value) => sum + value, 0);
    const widest = Math.max(...known.map(total)) || 1;
    const bars = known.flatMap((entry) => [
      element("span", null, entry.name),
      element("div", { role: "presentation" }, Object.entries(entry.cost.energy_uj_by_component).map(([name, value]) =>
        element("i", { style: { width: `${(100 * value) / widest}%`, background: component(name)[1] } }))),
    ]);
    const rows = Object.entries(point.cost.energy_uj_by_component).map(([name, value]) => element("tr", null,
      cell(element("span", { class: "swatch", style: { background: component(name)[1] } }), component(name)[0]),
      known.map((entry) => {
        const part = entry.cost.energy_uj_by_component[name] ?? 0;
        return number(`${unit(significant(part), "µJ")} `, small(percent(total(entry) ? part / total(entry) : null)));
      })));
    const headings = [["Component"], ...known.map((entry) => [entry.name, "", "number"])];
    put("components", element("div", { class: "stack" }, bars), table(headings, rows));
  }

  const component = (name) => COMPONENTS[name] ?? [name, "#CC79A7"];

  function showFits(point) {
    const rows = point.cost.fits.map((fit) => {
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

  const isOperation = (row) => row.filters === null;
  const orDash = (value) => (value === null ? "–" : count(value)); // null: it has no such thing

  function showLayers(point) {
    put("layers-heading", `Layers of ${point.name}`);
    const layers = point.cost.layers;
    const ownReference = point === reference ? null : reference;
    const before = new Map((ownReference?.cost.layers ?? []).map((row) => [row.layer, row.energy_uj]));
    const widest = Math.max(...layers.map((row) => row.energy_uj), ...before.values(), 1e-30);
    const operations = layers.some(isOperation)
      ? "Indented rows have no weights; fused ones work on results as they leave the array and take no time of their own." : "";
    const bars = layers.length && before.size
      ? `Energy bars: blue is ${point.name}, grey behind it ${data.reference}, on one scale. ` : "";
    put("layers-caption", bars + operations);
    const headings = [
      ["Layer"], ["Kind"], ["Bits", "weights / inputs", "number"], ["Filters", "kept of", "number"],
      ["Weights", "kept", "number"], ["Codebook", "values", "number"], ["MACs", "or operations", "number"],
      ["Energy", "µJ", "number"], ["", ""], ["Latency", "cycles", "number"], ["Weights", "bytes, format", "number"], ["Bound", "by"],
    ];
    const rows = layers.map((row) => element("tr", { class: isOperation(row) ? "operation" : "" },
      cell(row.layer), cell(row.kind), number(`${row.step ? `step ${row.step.toPrecision(2)}` : orDash(row.weight_bits)} / ${row.activation_bits}`),
      number(row.filters === null ? "–" : `${count(row.filters)} of ${count(row.filters_of)}`),
      number(row.weight_density === null ? "–" : percent(row.weight_density, row.weight_density < 0.1 ? 1 : 0)),
      number(orDash(row.codebook_size)), number(count(isOperation(row) ? row.vector_operations : row.macs)),
      number(significant(row.energy_uj)), cell(meter(row.energy_uj, before.get(row.layer) ?? 0, widest)),
      number(count(row.latency_cycles)),
      row.weight_format === null ? number("–") : number(`${count(row.weight_bytes)} `, small(row.weight_format)),
      cell(row.bound)));
    put("layers", rows.length ? table(headings, rows)
      : element("p", { class: "caption" }, "No layer table: this network was not costed on the device."));
    const notes = point.cost.notes.map((note) => element("li", null, note));
    put("notes", element("h3", null, `Notes on ${point.name}`),
      notes.length ? element("ul", null, notes) : element("p", { class: "caption" }, "None."));
  }

  function meter(value, before, widest) {
    const bar = (kind, size) => element("i", { class: kind, style: { width: `${(100 * size) / widest}%` } });
    return element("div", { class: "meter", role: "presentation" }, bar("reference", before), bar("value", value));
  }

  // What does not change.

  function showFront() {
    const anyTuned = data.points.some((point) => point.tuned);
    const headings = [
      ["Network"], ["Search", data.score_name, "number"], ["Held-out", data.score_name, "number"],
      ...(anyTuned ? [["Fine-tuned", `held-out ${data.score_name}`, "number"]] : []),
      ...COSTS.map(({ heading }) => [heading, "", "number"]), ["Origin"],
    ];
    const baselines = data.points.filter((point) => point.kind === "baseline");
    const front = data.points.filter((point) => point.kind === "front");
    const rows = [...baselines, ...front].map((point, index) => {
      const costs = COSTS.map(({ key, format, has_ratio }) => {
        const share = has_ratio ? ratio(point, key) : null;
        return number(format(point.cost[key]), share === null || point === reference ? null : small(` ${percent(share)}`));
      });
      const last = point.kind === "baseline" && index === baselines.length - 1;
      const row = element("tr", { class: `${point.kind}${last ? " rule" : ""}` },
        cell(element("button", { type: "button", "aria-pressed": "false" }, point.name), point.mark ? ` ${point.mark}` : null),
        number(accuracy(point.search)), number(accuracy(point.held_out)),
        anyTuned ? number(point.tuned ? accuracy(point.tuned.held_out) : "–") : null, costs, cell(point.origin));
      row.dataset.name = point.name;
      row.addEventListener("click", () => select(point.name));
      return row;
    });
    put("front", table(headings, rows));
    put("marks", data.marks.map(([sign, says]) => `${sign} ${says}`).join("; "));
  }

  // A point of the cloud may lie on one of the front and take its click: what is under the pointer counts.
  function nearest(pointer) {
    const box = plot.getBoundingClientRect();
    const { xaxis, yaxis } = plot._fullLayout;
    let best;
    let distance = CLICK_RADIUS;
    for (const trace of plot.data) {
      (trace.customdata ?? []).forEach((name, index) => {
        const across = box.left + xaxis._offset + xaxis.d2p(trace.x[index]) - pointer.clientX;
        const down = box.top + yaxis._offset + yaxis.d2p(trace.y[index]) - pointer.clientY;
        if (points.has(name) && Math.hypot(across, down) < distance) {
          best = name;
          distance = Math.hypot(across, down);
        }
      });
    }
    return best;
  }

  function showHeader() {
    const costs = data.objectives.filter((name) => data.axes.some((axis) => axis.name === name));
    const members = data.points.filter((point) => point.kind === "front").length;
    put("title", data.title);
    put("figure-heading", `${data.score} against cost`);
    put("subtitle", `${data.device_title} (${data.device}) · ${data.score.toLowerCase()} against ` +
      `${costs.map((name) => name.replaceAll("_", " ")).join(", ")} · ` +
      `${count(data.evaluations)} evaluations, ${members} on the front`);
    put("remarks", ...data.remarks.map((line) => element("p", { class: "remark" }, line)));
    put("skipped", pairs(data.skipped, "Nothing was skipped."));
    put("provenance", pairs(data.provenance, "None recorded."));
    put("settings", pairs(data.settings, "None recorded."));
  }

  showHeader();
  if (!data.points.length) return;
  segments("axes", "axis", data.axes.map((axis) => [axis.name, axis.title.replace(" per image", "")]));
  segments("splits", "split", SPLITS);
  showFront();
  draw();
  plot.on("plotly_click", (event) => {
    const name = event.points.find((entry) => points.has(entry.customdata))?.customdata ?? nearest(event.event);
    if (name !== undefined) select(name);
  });
  narrow.addEventListener("change", draw);
  select(state.name);
})();
