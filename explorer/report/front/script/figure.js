// Score against one cost.

const BASELINE_STYLES = [["diamond", GREEN], ["square", VERMILION], ["triangle", ORANGE], ["star", SKY]];
const TOUCH = 24, POINTER = 12; // pixels: how far from a mark a thumb and a pointer may be
const coarse = window.matchMedia("(pointer: coarse)");
const narrow = window.matchMedia("(max-width: 640px)");
let drawing = null; // what the chosen point is marked in: its frame, points and where they lie
let drawn = []; // {point or place, x, y} of what can be clicked: the front and baselines before other evaluations

const scoreOf = (point) => (state.images === "search" ? point.search : point.held_out);
const baselineStyle = (point) => BASELINE_STYLES[baselines.indexOf(point) % BASELINE_STYLES.length];

// Members that no other one beats in this cost and search score: judging on held-out images would select on them.
function bestOf(placed, key) {
  const beats = (a, b) => a.cost[key] <= b.cost[key] && a.search.value >= b.search.value &&
    (a.cost[key] < b.cost[key] || a.search.value > b.search.value);
  return placed.filter((point) => !placed.some((other) => beats(other, point)));
}

function draw() {
  if (!data.points.length && !all.number.length) return;
  const axis = AXES.find((entry) => entry.name === state.cost), key = axis.key;
  const known = (point) => point.cost[key] !== null && point.cost[key] !== undefined;
  const byCost = (a, b) => a.cost[key] - b.cost[key];
  const members = front.filter(known).sort(byCost), best = bestOf(members, key);
  const tuned = front.filter((point) => point.tuned && known(point.tuned)).map((point) => point.tuned).sort(byCost);
  const placed = baselines.filter(known), levels = baselines.filter((point) => !known(point));
  const cloud = others.filter((place) => all.costs[key]?.[place] !== null);
  const scored = state.images === "search" ? cloud.filter((place) => all.score[place] !== null) : [];
  const unscored = state.images === "search" ? cloud.filter((place) => all.score[place] === null) : [];

  const shown = [...front, ...baselines, ...tuned].map(scoreOf).filter((score) => score && score.num_images);
  const range = shown.flatMap((score) => [100 * (score.value - score.standard_error), 100 * (score.value + score.standard_error)]);
  if (state.whole || !range.length) range.push(...scored.map((place) => 100 * all.score[place]));
  const x = makeScale([...members, ...placed, ...tuned].map((point) => point.cost[key]).concat(cloud.map((place) => all.costs[key][place])));
  const y = makeScale(range, { log: false, room: 0.08 });
  x.title = `${axis.title} (${axis.unit}${x.log ? ", log scale" : ""})`;
  y.title = `${data.score} on ${state.images === "search" ? "search" : "held-out"} images (%)`;

  const plot = find("plot"), width = Math.max(280, plot.clientWidth), height = narrow.matches ? 380 : 460;
  const frame = makeFrame(width, height, x, y, narrow.matches ? { left: 46, right: 8 } : {});
  const at = (point, score = scoreOf(point)) => [frame.across(point.cost[key]), frame.up(100 * score.value)];
  const entries = [];
  drawn = [];

  const limit = state.limits[key];
  const shade = (left, top, right, bottom) =>
    frame.plot.append(svg("rect", { x: left, y: top, width: Math.max(0, right - left), height: Math.max(0, bottom - top), fill: "#8a97a3", opacity: 0.13 }));
  if (limit !== undefined) shade(Math.max(frame.left, frame.across(limit)), frame.top, frame.right, frame.bottom);
  if (state.least !== null && state.images === "search") shade(frame.left, Math.max(frame.top, frame.up(100 * state.least)), frame.right, frame.bottom);

  for (const [title, shape, some] of [
    ["other evaluations", "circle", scored.filter((place) => all.limits[place] === all.broken.indexOf(""))],
    ["misses a budget", "cross", scored.filter((place) => all.limits[place] !== all.broken.indexOf(""))],
  ]) {
    if (!some.length) continue;
    const where = new Map(some.map((place) => [place, [frame.across(all.costs[key][place]), frame.up(100 * all.score[place])]]));
    const make = shape === "circle" ? dots : crosses;
    frame.plot.append(
      make(some.filter(overAt).map((place) => where.get(place)), { stroke: PALE, opacity: 0.8, class: "over" }),
      make(some.filter((place) => !overAt(place)).map((place) => where.get(place)), { stroke: shape === "circle" ? SKY : FAINT, opacity: 0.65, class: "cloud" }));
    entries.push([shape, shape === "circle" ? { fill: SKY } : { stroke: FAINT, fill: "none", "stroke-width": 1.5 }, title]);
    for (const [place, [px, py]] of where) if (py <= frame.bottom && py >= frame.top) drawn.push({ place, x: px, y: py });
  }
  if (unscored.length) {
    const where = unscored.map((place) => [frame.across(all.costs[key][place]), frame.bottom - 5]);
    frame.plot.append(svg("path", { d: where.map(([px, py]) => `M${px.toFixed(1)} ${py - 4}v8`).join(""), stroke: FAINT, opacity: 0.7, class: "unscored" }));
    entries.push(["tick", { stroke: FAINT, "stroke-width": 1.5 }, "over budget, unscored"]);
    unscored.forEach((place, index) => drawn.push({ place, x: where[index][0], y: where[index][1] }));
  }

  for (const point of levels) {
    const score = scoreOf(point);
    if (!score?.num_images) continue;
    const [, color] = baselineStyle(point), level = frame.up(100 * score.value);
    frame.plot.append(line(frame.left, level, frame.right, level, { stroke: color, "stroke-width": 1.5, "stroke-dasharray": "6 4" }));
    entries.unshift(["dash", { stroke: color, "stroke-width": 1.5, "stroke-dasharray": "6 4" }, `${point.name} (does not run here)`]);
  }
  if (data.budgets[key] !== undefined) {
    const place = frame.across(data.budgets[key]), style = { stroke: MUTED, "stroke-width": 1.5, "stroke-dasharray": "2 3" };
    frame.plot.append(line(place, frame.top, place, frame.bottom, { ...style, class: "budget" }));
    if (place >= frame.left && place <= frame.right) entries.push(["tick", style, "budget of the study"]);
  }

  const has = (point) => Boolean(scoreOf(point)?.num_images);
  const steps = best.filter(has).map((point) => at(point));
  if (steps.length > 1) {
    const path = steps.map(([px, py], index) => (index ? (state.images === "search" ? `H${px}V${py}` : `L${px} ${py}`) : `M${px} ${py}`)).join("");
    frame.plot.append(svg("path", { d: path, fill: "none", stroke: BLUE, opacity: 0.5, "stroke-width": 1.5, "stroke-dasharray": state.images === "search" ? null : "2 4" }));
  }
  if (tuned.filter(has).length) {
    const path = tuned.filter(has).map((point, index) => `${index ? "L" : "M"}${at(point).join(" ")}`).join("");
    frame.plot.append(svg("path", { d: path, fill: "none", stroke: PURPLE, "stroke-dasharray": "2 4" }));
  }
  const bars = (some, color) => frame.plot.append(svg("path", {
    d: some.filter(has).map((point) => {
      const score = scoreOf(point), px = frame.across(point.cost[key]);
      return `M${px - 3} ${frame.up(100 * (score.value + score.standard_error))}h6m-3 0V${frame.up(100 * (score.value - score.standard_error))}m-3 0h6`;
    }).join(""), fill: "none", stroke: color, "stroke-width": 1, opacity: 0.75,
  }));
  const grey = members.filter(over), colored = members.filter((point) => !over(point));
  bars(grey, PALE); bars(colored, BLUE); bars(placed, MUTED); bars(tuned.filter(over), PALE); bars(tuned.filter((point) => !over(point)), PURPLE);
  for (const point of tuned.filter(has)) // below the members, which a tuning that brought nothing would hide
    frame.plot.append(mark("star", ...at(point), 6, { "data-tuned": point.name, fill: over(point) ? FAINT : PURPLE, stroke: "white" }));
  for (const point of members.filter(has)) {
    const isBest = best.includes(point), color = over(point) ? FAINT : BLUE;
    frame.plot.append(mark("circle", ...at(point), 5.5, { "data-name": point.name, fill: isBest ? color : "white", stroke: isBest ? "white" : color, "stroke-width": isBest ? 1 : 2, opacity: over(point) ? 0.6 : 1 }));
  }
  for (const point of placed.filter(has)) {
    const [shape, fill] = baselineStyle(point);
    frame.plot.append(mark(shape, ...at(point), 6, { "data-name": point.name, fill, stroke: "white" }));
    entries.unshift([shape, { fill }, point.name]);
  }
  if (tuned.length) entries.unshift(["star", { fill: PURPLE }, "fine-tuned"]);
  if (best.length < members.length) entries.unshift(["circle", { fill: "white", stroke: BLUE, "stroke-width": 2 }, "front, for another objective"]);
  if (members.length) entries.unshift(["circle", { fill: BLUE }, "front"]);
  drawn.unshift(...[...members, ...placed].filter(has).map((point) => ({ point, x: at(point)[0], y: at(point)[1] })));

  drawing = { frame, at, has: (point) => known(point) && has(point), members: members.filter(has), placed: placed.filter(has), rings: svg("g"), names: svg("g") };
  frame.plot.append(drawing.rings);
  frame.free.append(drawing.names);
  drawChosen();
  plot.replaceChildren(frame.node);
  put("legend", ...legend(entries));
  put("caption", tellFigure(scored.filter((place) => 100 * all.score[place] < y.from).length, unscored.length, tuned.length, best.length));
}

// Rings around the chosen and the compared point, and the names: all that a choice changes in the figure.
function drawChosen() {
  const { at, has, rings } = drawing;
  const ring = (point, stroke, attributes) => (point && has(point) ? [mark("circle", ...at(point), 10, { fill: "none", stroke, "stroke-width": 2, ...attributes })] : []);
  rings.replaceChildren(...ring(named(state.other), ORANGE, { class: "compared", "stroke-dasharray": "4 3" }), ...ring(named(state.name), INK, { class: "selected" }));
  label(drawing);
}

// Names where they cover neither marks nor each other, the recommended point, the knee and the one that is shown first.
function label({ frame, members, placed, at, names }) {
  names.replaceChildren();
  const boxes = [...members, ...placed].map((point) => { const [x, y] = at(point); return [x - 6, y - 6, x + 6, y + 6]; });
  const important = (point) => [data.chosen?.name, state.name, data.knee].indexOf(point.name);
  const order = [...members].sort((a, b) => (important(b) >= 0) - (important(a) >= 0));
  for (const point of order) {
    const says = [point.name, point.name === data.chosen?.name ? data.chosen.called : "", point.name === data.knee ? "knee" : ""].filter(Boolean).join(", ");
    const spot = findSpot(says, ...at(point), boxes, frame);
    if (!spot) continue;
    const strong = says !== point.name || point.name === state.name;
    names.append(text(...spot, says, { "font-size": 11, "font-weight": strong ? 600 : 400, fill: strong ? INK : MUTED, class: "halo" }));
  }
}

// What the figure leaves out or a reader could take wrongly.
function tellFigure(below, unscored, tuned, best) {
  const said = front.length ? [] : ["The front is empty: no candidate kept the budgets."];
  said.push("Error bars are one standard error.");
  if (state.images === "held_out")
    said.push("The members were selected on search images; the dotted line joins those that form the front there. Other evaluations were never scored on held-out images.");
  else if (best) said.push(`The line is the best search ${data.score_name} reached at that cost or less.`);
  if (tuned) said.push("Stars are what fine-tuning made of members of the front, in the order of cost.");
  if (below) said.push(`${count(below)} ${below === 1 ? "evaluation lies" : "evaluations lie"} below the range shown.`);
  if (unscored) said.push(`${count(unscored)} candidates over budget were costed only: the ticks at the bottom.`);
  return said.join(" ");
}

// The nearest mark under a pointer or a thumb; one of the front goes before another evaluation at the same place.
function nearest(event) {
  const box = find("plot").getBoundingClientRect();
  const reach = event.pointerType === "touch" || coarse.matches ? TOUCH : POINTER;
  let found = null, closest = reach;
  for (const entry of drawn) {
    const distance = Math.hypot(box.left + entry.x - event.clientX, box.top + entry.y - event.clientY) + (entry.point ? 0 : 2);
    if (distance < closest) [found, closest] = [entry, distance];
  }
  return found && (found.point ?? evaluation(found.place));
}

function describe(point) {
  const lines = [point.number === null ? point.name : `${point.name} · evaluation ${point.number}`,
    point.search ? `search ${accuracy(point.search)} of ${count(point.search.num_images)} images` : "not scored"];
  if (point.held_out?.num_images) lines.push(`held-out ${accuracy(point.held_out)}`);
  for (const { heading, key, format, has_ratio } of COSTS) {
    if (point.cost[key] === undefined) continue;
    const share = has_ratio && point !== reference ? ratio(point, reference, key) : null;
    lines.push(`${heading.toLowerCase()} ${format(point.cost[key])}${share === null ? "" : `, ${percent(share)} of ${data.reference}`}`);
  }
  if (point.broken) lines.push(point.broken);
  lines.push(point.origin);
  return lines;
}

// Goes to the next or last point of the front in the order of the cost shown.
function move(steps) {
  const key = AXES.find((entry) => entry.name === state.cost).key;
  const order = [...front, ...baselines].filter((point) => point.cost[key] !== null && !over(point)).sort((a, b) => a.cost[key] - b.cost[key]);
  if (!order.length) return;
  const now = order.findIndex((point) => point.name === state.name);
  const next = Math.abs(steps) === Infinity ? (steps > 0 ? order.length - 1 : 0) : Math.max(0, Math.min(order.length - 1, now + steps));
  select(order[next].name);
}

const STEPS = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1, Home: -Infinity, End: Infinity };

function listenToFigure() {
  const plot = find("plot");
  plot.addEventListener("click", (event) => { const point = nearest(event); if (point) select(point.name); });
  plot.addEventListener("pointermove", (event) => {
    const point = event.pointerType === "touch" ? null : nearest(event);
    plot.style.cursor = point ? "pointer" : "";
    if (point) showTip(event, describe(point)); else hideTip();
  });
  plot.addEventListener("pointerleave", hideTip);
  plot.addEventListener("keydown", (event) => {
    if (event.key in STEPS) { event.preventDefault(); move(STEPS[event.key]); }
    if (event.key === "Enter") { event.preventDefault(); find("layers-heading").focus(); }
  });
  find("whole").addEventListener("change", (event) => { state.whole = event.target.checked; update("figure"); });
  find("save-figure").addEventListener("click", () =>
    download(new XMLSerializer().serializeToString(plot.firstChild), `${state.cost}.svg`, "image/svg+xml"));
}
