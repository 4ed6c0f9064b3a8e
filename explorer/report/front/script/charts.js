// Plain SVG charts: scales, ticks, a frame with axes, marks that are told apart by shape as well as by colour.

// Okabe and Ito's palette, told apart with the common colour-vision deficiencies.
const [BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"];
const INK = "#1b2733", MUTED = "#55626f", GRID = "#e3e8ee", FAINT = "#9aa7b4", PALE = "#d5dbe2";

// An axis spans its values with a little room, on a logarithmic scale where they differ by more than a factor of four.
function makeScale(values, { log = null, room = 0.05 } = {}) {
  const known = values.filter((value) => Number.isFinite(value));
  let low = Math.min(...known), high = Math.max(...known);
  if (!known.length) [low, high] = [0, 1];
  const wide = log ?? (low > 0 && high > 4 * low);
  const turn = wide ? Math.log10 : (value) => value;
  let [from, to] = [turn(low), turn(high)];
  if (from === to) [from, to] = wide ? [from - 0.1, to + 0.1] : [from - Math.max(1e-9, Math.abs(from) * 0.1), to + Math.max(1e-9, Math.abs(to) * 0.1)];
  const margin = room * (to - from);
  return { log: wide, from: from - margin, to: to + margin, at: (value) => (turn(value) - from + margin) / (to - from + 2 * margin) };
}

function ticks(scale, most) {
  if (scale.log && scale.to - scale.from > 0.6) {
    const found = [];
    for (const factors of [[1, 2, 5], [1], null]) {
      found.length = 0;
      const step = factors ? 1 : Math.ceil((scale.to - scale.from) / most);
      for (let power = Math.floor(scale.from); power <= scale.to; power += step)
        for (const factor of factors ?? [1]) {
          const value = factor * 10 ** power;
          if (Math.log10(value) >= scale.from && Math.log10(value) <= scale.to) found.push(value);
        }
      if (found.length <= most) break;
    }
    return found;
  }
  const [low, high] = scale.log ? [10 ** scale.from, 10 ** scale.to] : [scale.from, scale.to];
  const wanted = (high - low) / most, power = 10 ** Math.floor(Math.log10(wanted));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((size) => size >= wanted * 0.999);
  const found = [];
  for (let index = Math.ceil(low / step - 1e-9); index * step <= high * (1 + 1e-12); index += 1) found.push(Number((index * step).toPrecision(12)));
  return found;
}

function short(value) {
  if (value === 0) return "0";
  const size = Math.abs(value);
  for (const [limit, sign] of [[1e9, "G"], [1e6, "M"], [1e3, "k"]])
    if (size >= limit) return `${Number((value / limit).toPrecision(4))}${sign}`;
  return size < 1e-3 ? value.toExponential(0) : String(Number(value.toPrecision(4)));
}

const text = (x, y, said, attributes) => svg("text", { x, y, fill: MUTED, "font-size": 12, ...attributes }, said);
const line = (x1, y1, x2, y2, attributes) => svg("line", { x1, y1, x2, y2, stroke: GRID, ...attributes });

// A frame of given size: `x` and `y` are scales with a title; its `plot` is what marks are put into.
function makeFrame(width, height, x, y, margin) {
  const { left, right, top, bottom } = { left: 58, right: 14, top: 12, bottom: 46, ...margin };
  const across = (value) => left + x.at(value) * (width - left - right);
  const up = (value) => height - bottom - y.at(value) * (height - top - bottom);
  const grid = svg("g");
  for (const value of ticks(x, Math.max(2, Math.floor((width - left - right) / 62)))) {
    grid.append(line(across(value), top, across(value), height - bottom));
    grid.append(text(across(value), height - bottom + 17, short(value), { "text-anchor": "middle" }));
  }
  for (const value of ticks(y, Math.max(3, Math.floor((height - top - bottom) / 42)))) {
    grid.append(line(left, up(value), width - right, up(value)));
    grid.append(text(left - 7, up(value) + 4, short(value), { "text-anchor": "end" }));
  }
  const clip = `clip-${makeFrame.made = (makeFrame.made ?? 0) + 1}`;
  const area = { x: left, y: top, width: width - left - right, height: height - top - bottom };
  const plot = svg("g", { "clip-path": `url(#${clip})` });
  const free = svg("g");
  const node = svg("svg", { xmlns: "http://www.w3.org/2000/svg", viewBox: `0 0 ${width} ${height}`, width, height, "font-family": "system-ui, 'Segoe UI', 'DejaVu Sans', sans-serif" },
    svg("defs", null, svg("clipPath", { id: clip }, svg("rect", area))), grid,
    line(left, height - bottom, width - right, height - bottom, { stroke: FAINT }), line(left, top, left, height - bottom, { stroke: FAINT }),
    plot, free,
    text((left + width - right) / 2, height - 6, x.title ?? "", { "text-anchor": "middle", class: "x-title", fill: INK }),
    text(0, 0, y.title ?? "", { "text-anchor": "middle", class: "y-title", fill: INK, transform: `translate(13 ${(top + height - bottom) / 2}) rotate(-90)` }));
  return { node, plot, free, across, up, area, left, right: width - right, top, bottom: height - bottom };
}

// Marks by shape, drawn around 0, 0; the shape is what tells them apart where colours do not.
const SHAPES = {
  circle: (r) => `M${-r} 0a${r} ${r} 0 1 0 ${2 * r} 0a${r} ${r} 0 1 0 ${-2 * r} 0z`,
  square: (r) => `M${-r} ${-r}h${2 * r}v${2 * r}h${-2 * r}z`,
  diamond: (r) => `M0 ${-1.3 * r}L${1.3 * r} 0L0 ${1.3 * r}L${-1.3 * r} 0z`,
  triangle: (r) => `M0 ${-1.2 * r}L${1.2 * r} ${r}L${-1.2 * r} ${r}z`,
  star: (r) => `M${Array.from({ length: 10 }, (_, i) => {
    const size = i % 2 ? 0.55 * r : 1.35 * r, angle = (Math.PI * i) / 5;
    return `${(size * Math.sin(angle)).toFixed(2)} ${(-size * Math.cos(angle)).toFixed(2)}`;
  }).join("L")}z`,
  cross: (r) => `M${-r} ${-r}L${r} ${r}M${-r} ${r}L${r} ${-r}`,
  tick: (r) => `M0 ${-r}V${r}`,
  dash: (r) => `M${-2 * r} 0H${2 * r}`,
};
const mark = (shape, x, y, radius, attributes) =>
  svg("path", { d: SHAPES[shape](radius), transform: `translate(${x.toFixed(2)} ${y.toFixed(2)})`, ...attributes });

// Thousands of marks as one path: a dot is a line without length that has round ends.
const dots = (places, attributes) =>
  svg("path", { d: places.map(([x, y]) => `M${x.toFixed(1)} ${y.toFixed(1)}h0`).join(""), fill: "none", "stroke-linecap": "round", "stroke-width": 6, ...attributes });
const crosses = (places, attributes) =>
  svg("path", { d: places.map(([x, y]) => `M${(x - 3).toFixed(1)} ${(y - 3).toFixed(1)}l6 6m-6 0l6 -6`).join(""), fill: "none", "stroke-width": 1.2, ...attributes });

// Where words of 11 pixels beside a mark cover none of the boxes, nor leave the area; they become a box. Null for nowhere.
function findSpot(words, x, y, boxes, area) {
  const size = 6.6 * words.length;
  for (const [left, top] of [[x - 8 - size, y - 20], [x + 8, y + 6], [x + 8, y - 20], [x - 8 - size, y + 6]]) {
    const [right, bottom] = [left + size, top + 14];
    if (left <= area.left || right >= area.right || top <= area.top || bottom >= area.bottom) continue;
    if (boxes.some((box) => left < box[2] && box[0] < right && top < box[3] && box[1] < bottom)) continue;
    boxes.push([left, top, right, bottom]);
    return [left, top + 11];
  }
  return null;
}

const icon = (shape, attributes) =>
  svg("svg", { width: 18, height: 14, viewBox: "-9 -7 18 14", "aria-hidden": "true" }, mark(shape, 0, 0, 4.5, attributes));
const legend = (entries) => entries.map(([shape, attributes, title]) => element("li", null, icon(shape, attributes), title));

// What is read beside the pointer: lines of plain text, the first one in bold.
const tip = element("div", { class: "tip", role: "presentation", hidden: true });
document.body.append(tip);
function showTip(event, lines) {
  tip.replaceChildren(...lines.map((said, index) => element(index ? "div" : "strong", null, said)));
  tip.hidden = false;
  const { width, height } = tip.getBoundingClientRect();
  const x = event.clientX + 14 + width > innerWidth ? event.clientX - 14 - width : event.clientX + 14;
  tip.style.left = `${Math.max(4, x)}px`;
  tip.style.top = `${Math.max(4, Math.min(event.clientY + 14, innerHeight - height - 4))}px`;
}
const hideTip = () => { tip.hidden = true; };

