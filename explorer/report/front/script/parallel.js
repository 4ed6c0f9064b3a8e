// Parallel coordinates over objectives and choices (Inselberg, The Visual Computer 1(2), 1985).

const fields = [...new Set(all.axes.map(([, field]) => field))];
const drawnAs = { field: fields[0], cloud: false };
const MOST_AXES = 24; // that have room for a name side by side

// What is read of a place among the evaluations on each vertical line, as a share of its height.
function parallelAxes(field, among) {
  const costs = AXES.filter(inStudy).map((axis) => {
    const column = all.costs[axis.key], scale = makeScale(among.map((place) => column[place]).filter((value) => value !== null), { room: 0 });
    const ends = scale.log ? [10 ** scale.from, 10 ** scale.to] : [scale.from, scale.to];
    return { title: data.costs.find((figure) => figure.key === axis.key).heading, ends: ends.map(short), at: (place) => (column[place] === null ? null : scale.at(column[place])) };
  });
  const known = among.map((place) => all.score[place]).filter((value) => value !== null), [low, high] = [Math.min(...known), Math.max(...known)];
  const score = { title: data.score, ends: [low, high].map((value) => `${(100 * value).toFixed(1)} %`), at: (place) => (all.score[place] === null ? null : (all.score[place] - low) / (high - low || 1)) };
  const choices = all.axes.map(([of, kind, values], index) => ({ of, kind, values, index })).filter(({ kind }) => kind === field).slice(0, MOST_AXES);
  return [score, ...costs, ...choices.map(({ of, values, index }) => ({
    title: of, ends: [values[0], values.at(-1)].map((value) => (value === null ? "none" : String(value))), values,
    at: (place) => (all.chosen[place].codePointAt(index) - 48) / (values.length - 1),
  }))];
}

if (all.number.length > 1) VIEWS.push({
  id: "parallel", title: "Objectives and choices side by side", follows: true, limited: true,
  about: "Parallel coordinates: one line for each member of the front, from its score and costs to what it chooses for each layer. The chosen point is heavy, the compared one dashed; what is over a limit is grey. A tap on a line chooses it.",
  draw(box) {
    const again = () => { box.replaceChildren(); this.draw(box); };
    const cloud = element("input", { type: "checkbox", change: (event) => { drawnAs.cloud = event.target.checked; again(); } });
    cloud.checked = drawnAs.cloud;
    box.append(element("div", { class: "controls" },
      fields.length ? element("label", { class: "choice" }, "Choices ", element("select", { change: (event) => { drawnAs.field = event.target.value; again(); } },
        fields.map((field) => element("option", { value: field, selected: field === drawnAs.field }, field)))) : null,
      element("label", { class: "check" }, cloud, " all evaluations")));
    const shown = front.map((point) => ({ point, place: places.get(point.number) })).filter(({ place }) => place !== undefined);
    const lines = shown.map(({ place }) => place).concat([state.name, state.other].map((name) => places.get(named(name)?.number)).filter((place) => place !== undefined));
    const axes = parallelAxes(drawnAs.field, drawnAs.cloud || !lines.length ? all.number.map((number, place) => place) : lines), edge = 46, step = Math.max(64, (wide(box) - 2 * edge) / Math.max(1, axes.length - 1));
    const width = 2 * edge + step * (axes.length - 1), height = 330, top = 44, bottom = height - 26;
    const across = (index) => edge + index * step, up = (share) => bottom - share * (bottom - top);
    // Choices take few values: lines are set apart within a value by their score, so that they do not hide each other.
    const spread = (place) => (all.score[place] === null ? 0 : 0.02 * Math.sin(7919 * place));
    const path = (place) => {
      let down = false;
      return axes.map((axis, index) => {
        const share = axis.at(place);
        if (share === null) { down = false; return ""; }
        const told = `${down ? "L" : "M"}${across(index).toFixed(1)} ${up(axis.values ? share * 0.96 + 0.02 + spread(place) : share).toFixed(1)}`;
        down = true;
        return told;
      }).join("");
    };
    const node = svg("svg", { viewBox: `0 0 ${width} ${height}`, width, height, "font-family": "system-ui, 'DejaVu Sans', sans-serif" });
    if (drawnAs.cloud) node.append(svg("path", { d: others.map(path).join(""), fill: "none", stroke: PALE, "stroke-width": 1, opacity: 0.6 }));
    const grey = shown.filter(({ point }) => over(point)), kept = shown.filter(({ point }) => !over(point));
    for (const { place } of grey) node.append(svg("path", { d: path(place), fill: "none", stroke: PALE, "stroke-width": 1.2 }));
    for (const { place } of kept) node.append(svg("path", { d: path(place), fill: "none", stroke: BLUE, "stroke-width": 1.2, opacity: 0.45 }));
    for (const [name, style] of [[state.other, { stroke: ORANGE, "stroke-width": 2.4, "stroke-dasharray": "6 4" }], [state.name, { stroke: INK, "stroke-width": 2.6, class: "chosen" }]]) {
      const place = places.get(named(name)?.number);
      if (place !== undefined) node.append(svg("path", { d: path(place), fill: "none", ...style }));
    }
    axes.forEach((axis, index) => {
      const room = index && index < axes.length - 1 ? step : Math.min(step, 2 * edge);
      const longest = Math.max(4, Math.floor(room / 6.8)), title = axis.title.length > longest ? `…${axis.title.slice(1 - longest)}` : axis.title;
      node.append(line(across(index), top, across(index), bottom, { stroke: FAINT }),
        text(across(index), top - 24, title, { "text-anchor": "middle", fill: INK, "font-size": 11 }),
        text(across(index), top - 9, axis.ends[1], { "text-anchor": "middle", "font-size": 10 }),
        text(across(index), bottom + 14, axis.ends[0], { "text-anchor": "middle", "font-size": 10 }));
      node.lastChild.previousSibling.previousSibling.append(svg("title", null, axis.title));
    });
    node.addEventListener("click", (event) => {
      const area = node.getBoundingClientRect(), scale = width / area.width, px = (event.clientX - area.left) * scale, py = (event.clientY - area.top) * scale;
      const index = Math.max(0, Math.min(axes.length - 2, Math.floor((px - edge) / step))), part = (px - across(index)) / step;
      let found = null, closest = 14;
      for (const { point, place } of kept) {
        const [a, b] = [axes[index].at(place), axes[index + 1].at(place)];
        const distance = a === null || b === null ? Infinity : Math.abs(up(a + (b - a) * part) - py);
        if (distance < closest) [found, closest] = [point, distance];
      }
      if (found) select(found.name);
    });
    box.append(element("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Parallel coordinates" }, node));
    const left = all.axes.filter(([, kind]) => kind === drawnAs.field).length - MOST_AXES;
    if (left > 0) box.append(caption(`The first ${MOST_AXES} layers are drawn; ${left} more choose their ${drawnAs.field}, too.`));
  },
});
