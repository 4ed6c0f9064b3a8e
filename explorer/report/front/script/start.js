// Puts the page together, and keeps what is shown in step with what is chosen.

let planned = false;

// Draws anew what a change touches; figures once a frame, however many changes there are.
function update(...parts) {
  planHash();
  if (parts.includes("table") || parts.includes("limits")) showTable();
  if (parts.includes("limits")) { tellWithin(); showSelection(named(state.name)); }
  if (parts.includes("choice") && drawing) drawChosen();
  if ((parts.includes("figure") || parts.includes("limits")) && !planned) {
    planned = true;
    requestAnimationFrame(() => {
      planned = false;
      draw();
      if (parts.includes("limits")) refreshViews(true);
    });
  }
}

function showPoint() {
  const point = named(state.name);
  showSelection(point);
  showOther(point);
  showNumbers(point);
  showExport(point);
  showComponents(point);
  showFits(point);
  showLayers(point);
  refreshViews(false);
}

function select(name) {
  state.name = name;
  markRow();
  showPoint();
  update("choice");
}

// The section by its name; an ordinary link would write over the chosen state in the address.
const linked = (said) => (said !== "Provenance below" ? said : element("a", { href: "#", click: (event) => {
  event.preventDefault();
  find("provenance-heading").scrollIntoView({ block: "center" });
} }, said));

function showHeader() {
  const costs = AXES.filter(inStudy).map((axis) => axis.name.replaceAll("_", " "));
  put("title", data.title);
  put("figure-heading", `${data.score} against cost`);
  put("subtitle", `${data.device_title} (${data.device}) · ${data.score.toLowerCase()} against ${costs.join(", ")} · ` +
    `${count(all.number.length)} evaluations, ${front.length} on the front`);
  put("recommendation", data.chosen ? `${data.chosen.called[0].toUpperCase()}${data.chosen.called.slice(1)}: ${data.chosen.told}.` : "");
  put("remarks", ...data.remarks.map((said) => element("p", { class: "remark" }, said.split(/(Provenance below)/).map(linked))));
  put("marks", data.marks.filter(([sign]) => !">*".includes(sign)).map(([sign, says]) => `${sign} ${says}`).join("; "));
  put("skipped", pairs(data.skipped, "Nothing was skipped."));
  put("provenance", pairs(data.provenance, "None recorded."));
  put("settings", pairs(data.settings, "None recorded."));
}

function showAll() {
  readHash();
  find("whole").checked = state.whole;
  segments("axes", AXES.map((axis) => [axis.name, axis.title.replace(" per image", "")]), state.cost, (value) => { state.cost = value; update("figure"); });
  segments("splits", [["search", "search"], ["held_out", "held-out"]], state.images, (value) => { state.images = value; update("figure"); });
  segments("rows", [["front", `front (${count(front.length)})`], ["all", `all evaluations (${count(all.number.length)})`]], state.rows, (value) => {
    state.rows = value;
    rowsShown = AT_ONCE;
    update("table");
  });
  showLimits();
  tellWithin();
  showTable();
  draw();
  markRow();
  showViews();
  showPoint();
}

showHeader();
document.querySelector("main").hidden = false;
if (data.points.length) {
  showAll();
  listenToFigure();
  listenToTable();
  find("other").addEventListener("change", (event) => { state.other = event.target.value; showPoint(); update("choice"); });
  find("no-limits").addEventListener("click", () => { state.limits = {}; state.least = null; showLimits(); update("limits"); });
  find("link").addEventListener("click", (event) => { writeHash(); copy(location.href, event.currentTarget); });
  window.addEventListener("hashchange", showAll);
  window.addEventListener("beforeprint", () => addLayers());
  let width = innerWidth;
  window.addEventListener("resize", () => { if (innerWidth !== width) { width = innerWidth; update("figure"); } });
}
performance.mark("ready");
