// Which choices matter, for the score and for each cost of the study.

const MOST_CHOICES = 16;
const shownImportance = { key: "score" };

if (data.importance) VIEWS.push({
  id: "importance", title: "Which choices matter",
  about: "The share of the variance that each choice explains, by an additive model of all evaluations that were scored (ridge regression; shares are covariances of a choice's effect with the values, Li et al., 2010). " +
    "Dots: over all evaluations; diamonds: over the members of the front, which have settled what the search decided early.",
  draw(box) {
    const again = () => { box.replaceChildren(); this.draw(box); };
    const known = data.importance.values, now = known.find((entry) => entry.key === shownImportance.key) ?? known[0];
    const order = now.shares.map((share, index) => index).sort((a, b) => Math.max(now.shares[b], now.front[b]) - Math.max(now.shares[a], now.front[a])).slice(0, MOST_CHOICES);
    const effect = (value) => (now.key === "score" ? `${value < 0 ? "−" : "+"}${Math.abs(100 * value).toFixed(1)} pp` : `${value < 0 ? "−" : "+"}${short(Math.abs(value))}`);
    const name = (value) => (value === null ? "none" : typeof value === "number" ? short(value) : value);
    const widest = Math.max(...order.map((index) => Math.max(now.shares[index], now.front[index])), 1e-9);
    const rows = order.map((index) => {
      const [of, field, values] = data.importance.axes[index], effects = now.effects[index];
      const bar = (share, color, shape) => svg("g", null, line(0, 7, Math.max(0, share / widest) * 150, 7, { stroke: color, "stroke-width": 3 }), mark(shape, Math.max(0, share / widest) * 150, 7, 4, { fill: color }));
      const chart = svg("svg", { width: 166, height: 30, viewBox: "-6 0 166 30", "aria-hidden": "true" }, bar(now.shares[index], BLUE, "circle"), svg("g", { transform: "translate(0 14)" }, bar(now.front[index], ORANGE, "diamond")));
      return element("tr", null, element("th", { scope: "row" }, `${of} `, small(field)), cell(chart), number(percent(now.shares[index], 1)), number(percent(now.front[index], 1)),
        cell(small(values.map((value, place) => `${name(value)}: ${effect(effects[place])}`).join("   "))));
    });
    box.append(element("div", { class: "controls" }, element("label", { class: "choice" }, "Of ", element("select", { change: (event) => { shownImportance.key = event.target.value; again(); } },
      known.map((entry) => element("option", { value: entry.key, selected: entry === now }, entry.title))))),
      caption(`The model explains ${percent(now.explained)} of the variance, and ${percent(now.left_out)} of evaluations that it was not fitted to.` + (now.left_out < 0.3 ? " That is little: read the shares with care." : "")),
      element("div", { class: "scroll importance" }, table([["Choice"], ["", ""], ["All", "share", "number"], ["Front", "share", "number"], ["Effect of each value", "beside the mean"]], rows)));
    if (now.shares.length > MOST_CHOICES) box.append(caption(`${MOST_CHOICES} of ${count(now.shares.length)} choices, the largest shares first.`));
  },
});
