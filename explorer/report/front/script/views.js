// Views that are drawn when they are first opened, and again when what they show changes.

const VIEWS = []; // {id, title, about, draw(box, point), follows: whether it shows the chosen point}

const wide = (box) => Math.max(280, box.clientWidth);

function showViews() {
  put("views", ...VIEWS.map((view) => {
    const box = element("div", { class: "view" });
    const node = element("details", { id: `view-${view.id}` }, element("summary", null, element("h2", null, view.title)), caption(view.about), box);
    node.open = state.open.includes(view.id);
    node.addEventListener("toggle", () => {
      state.open = state.open.filter((id) => id !== view.id).concat(node.open ? [view.id] : []);
      if (node.open && !box.firstChild) view.draw(box, named(state.name));
      planHash();
    });
    if (node.open) requestAnimationFrame(() => { if (!box.firstChild) view.draw(box, named(state.name)); });
    return element("section", null, node);
  }));
}

// Draws open views anew, and lets go of the others, which are drawn when they are opened.
function refreshViews(limits) {
  for (const view of VIEWS) {
    const box = find(`view-${view.id}`)?.querySelector(".view");
    if (!box?.firstChild || !(limits ? view.limited : view.follows)) continue;
    box.replaceChildren();
    if (state.open.includes(view.id)) view.draw(box, named(state.name));
  }
}

// How the front grew.
if (data.history) VIEWS.push({
  id: "history", title: "How the front grew",
  about: `Hypervolume of the front after each evaluation: the share of the volume between a network that is always right and costs nothing and the reference, ` +
    `${data.history.reference.map(([title, value, of]) => `${title.toLowerCase()} ${unit(significant(value), of)}`).join(", ")} (${data.reference}) ` +
    `and ${data.score_name} ${percent(data.history.least)}, that the front dominates. What exceeds a budget adds nothing.`,
  draw(box) {
    const { rises, count: total } = data.history, last = rises.at(-1)[1];
    const x = { ...makeScale([0, total], { log: false, room: 0.02 }), title: "evaluations" };
    const y = { ...makeScale([0, last || 1], { log: false, room: 0.04 }), title: "hypervolume" };
    const frame = makeFrame(wide(box), 280, x, y);
    const path = rises.map(([place, share], index) => (index ? `H${frame.across(place)}V${frame.up(share)}` : `M${frame.across(place)} ${frame.up(share)}`)).join("");
    frame.plot.append(svg("path", { d: `${path}H${frame.across(total)}`, fill: "none", stroke: BLUE, "stroke-width": 2 }));
    const nearly = rises.find(([, share]) => share >= 0.99 * last)?.[0];
    if (last && nearly !== undefined) frame.free.append(
      line(frame.across(nearly), frame.top, frame.across(nearly), frame.bottom, { stroke: MUTED, "stroke-dasharray": "2 3" }),
      text(Math.min(frame.across(nearly) + 5, frame.right - 150), frame.bottom - 8, `99 % of the end after ${count(nearly)}`, { class: "halo" }));
    box.append(frame.node);
  },
});

// Before and after tuning.
if (anyTuned) VIEWS.push({
  id: "tuning", title: "Before and after tuning",
  about: `What fine-tuning made of members of the front, on held-out images. Its integers, and so its costs, may be others.`,
  draw(box) {
    const rows = front.filter((point) => point.tuned).map((point) => element("tr", null, element("th", { scope: "row" }, point.name),
      number(inPercent(point.held_out)), number(inPercent(point.tuned.held_out)), number(difference(point.tuned.held_out, point.held_out)),
      COSTS.filter(({ key }) => studied.includes(key)).map(({ key, whole }) => {
        const show = whole ? count : significant;
        return [number(show(point.cost[key])), number(show(point.tuned.cost[key]))];
      }).flat()));
    const costs = COSTS.filter(({ key }) => studied.includes(key)).flatMap(({ heading, unit: of }) => [[heading, of, "number"], ["after", of, "number"]]);
    box.append(element("div", { class: "scroll" }, table([["Point"], [`Held-out ${data.score_name}`, "%", "number"], ["after", "%", "number"], ["gain", "", "number"], ...costs], rows)));
  },
});

// The referee's figures.
if (data.referees.length) VIEWS.push({
  id: "referee", title: "Beside a compiler",
  about: "Members of the front as Vela, Arm's compiler for the Ethos-U, compiles and estimates them, beside this report's model of the same network; the small figure is model over compiler.",
  draw(box) {
    for (const { device, members: compiled } of data.referees) {
      const rows = compiled.map(({ name, ours, vela, refused }) => element("tr", null, element("th", { scope: "row" }, name),
        vela ? ours.map((value, place) => [number(count(value)), number(count(vela[place]), vela[place] ? small(` ${(value / vela[place]).toFixed(2)}`) : null)]).flat()
          : element("td", { colspan: 6 }, refused || "not compiled")));
      const headings = [["Weights", "bytes, model"], ["", "compiler"], ["SRAM", "bytes, model"], ["", "compiler"], ["Cycles", "model"], ["", "compiler"]];
      box.append(element("h3", null, device), element("div", { class: "scroll" }, table([["Point"], ...headings.map(([title, under]) => [title, under, "number"])], rows)));
    }
  },
});
