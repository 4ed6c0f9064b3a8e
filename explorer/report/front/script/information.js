// What each layer keeps of what it carries about the answer.

const information = data.information;
if (information) VIEWS.push({
  id: "information", title: "What layers keep of the relevant", follows: true,
  about: information.missing ?? `Bits an image that a layer's output carries about the value that ${information.method} explains (pale), and keeps in the chosen point (blue): ½ log₂(1 + S/N), with S the variance of its contributions over images, ` +
    "and N the squared error that the choices make, by the table that the search started from (information bottleneck: Tishby and Zaslavsky, 2015; both as Gaussian). Errors of layers are taken one by one.",
  draw(box, point) {
    if (information.missing) return;
    const kept = information.kept[point.name];
    if (!kept) { box.append(caption("Known of members of the front: choose one.")); return; }
    const chosen = choices(point), other = named(state.other), beside = other && other !== point ? information.kept[other.name] : null;
    const most = Math.max(...information.layers.map((layer) => layer.carried), 1e-9);
    const row = new Map((point.cost.layers ?? []).map((entry) => [entry.layer, entry]));
    const rows = information.layers.map(({ layer, group, carried, relevance }, index) => {
      const ratio = chosen?.get(`filters kept/${group}`) ?? 1, share = relevance.find(([size]) => size === ratio)?.[1] ?? (ratio === 1 ? 1 : null);
      const bar = svg("svg", { width: 190, height: 18, viewBox: "0 0 190 18", "aria-hidden": "true" },
        svg("rect", { x: 0, y: 2, width: (190 * carried) / most, height: 14, fill: PALE }),
        svg("rect", { x: 0, y: 5, width: kept[index] === null ? 0 : (190 * Math.min(kept[index], carried)) / most, height: 8, fill: BLUE }),
        beside && beside[index] !== null ? line((190 * beside[index]) / most, 0, (190 * beside[index]) / most, 18, { stroke: ORANGE, "stroke-width": 2.5 }) : null);
      return element("tr", null, element("th", { scope: "row" }, layer), number(row.get(layer) ? bits(row.get(layer)) : "–"),
        number(row.get(layer) ? keptFilters(row.get(layer)) : "–"), number(group === null || share === null ? "–" : percent(share, 1)), number(row.get(layer) ? density(row.get(layer)) : "–"),
        cell(bar), number(kept[index] === null ? "–" : kept[index].toFixed(2)), number(carried.toFixed(2)), number(kept[index] === null ? "–" : percent(kept[index] / carried)));
    });
    if (beside) box.append(caption(`The orange line is what ${other.name} keeps.`));
    box.append(element("div", { class: "scroll" }, table([["Layer"], ["Bits", "weights / inputs", "number"], ["Filters", "kept of", "number"], ["Relevance", "in the filters kept", "number"], ["Weights", "kept", "number"],
      [`Bits an image`, point.name], ["Kept", "bits", "number"], ["Carried", "bits", "number"], ["Kept", "share", "number"]], rows)));
  },
});
