// Three objectives at once, turned by hand or by keys; no perspective, so that lengths stay comparable.

const turned = { around: 0.6, above: 0.35 };
const spaceCosts = AXES.filter(inStudy).slice(0, 2);

if (spaceCosts.length === 2 && front.length) VIEWS.push({
  id: "space", title: "Three objectives", follows: true, limited: true,
  about: `${data.score} against ${spaceCosts.map((axis) => axis.title.toLowerCase()).join(" and ")}, each line down to the plane of the costs. Drag, or use the arrow keys, to turn it.`,
  draw(box) {
    const placed = [...front, ...baselines].filter((point) => spaceCosts.every((axis) => point.cost[axis.key] !== null) && point.search?.num_images);
    const scales = spaceCosts.map((axis) => makeScale(placed.map((point) => point.cost[axis.key])));
    const heights = makeScale(placed.map((point) => 100 * point.search.value), { log: false });
    const width = Math.min(720, wide(box)), height = Math.min(460, width), size = (narrow.matches ? 0.26 : 0.31) * Math.min(width, height * 1.25);
    const node = svg("svg", { viewBox: `0 0 ${width} ${height}`, width, height, tabindex: "0", role: "group", "aria-label": "Three objectives; arrow keys turn it", "font-family": "system-ui, 'DejaVu Sans', sans-serif", style: { touchAction: "pan-y", cursor: "grab" } });
    let marks = [];
    const title = (place) => `${data.costs.find((figure) => figure.key === spaceCosts[place].key).heading} (${SHORT[spaceCosts[place].unit] ?? spaceCosts[place].unit})`;
    const project = (x, y, z) => {
      const [a, b] = [x - 0.5, y - 0.5], { around, above } = turned;
      const right = a * Math.cos(around) - b * Math.sin(around), deep = a * Math.sin(around) + b * Math.cos(around);
      return [width / 2 + 2 * size * right, height / 2 - 2 * size * ((z - 0.5) * Math.cos(above) * 0.8 + deep * Math.sin(above)), deep];
    };
    const render = () => {
      const away = (pixels) => pixels / (2 * size);
      const edge = (from, to, attributes) => { const [a, b] = [project(...from), project(...to)]; return line(a[0], a[1], b[0], b[1], attributes); };
      const said = (at, words, attributes) => {
        const [x, y] = project(...at), half = 3.5 * words.length;
        return text(Math.max(half, Math.min(width - half, x)), y, words, { "text-anchor": "middle", class: "halo", ...attributes });
      };
      const floor = [];
      for (const [axis, scale] of scales.entries()) for (const value of ticks(scale, 4)) {
        const share = scale.at(value);
        if (share < 0 || share > 1) continue;
        floor.push(axis ? edge([0, share, 0], [1, share, 0]) : edge([share, 0, 0], [share, 1, 0]),
          said(axis ? [1 + away(20), share, 0] : [share, -away(20), 0], short(value), { "font-size": 10 }));
      }
      for (const value of ticks(heights, 5)) {
        const share = heights.at(value);
        if (share >= 0 && share <= 1) floor.push(said([-away(16), 1 + away(5), share], short(value), { "font-size": 10 }), edge([0, 1, share], [-0.03, 1.01, share], { stroke: FAINT }));
      }
      const titles = [said([0.5, -away(62), 0], title(0), { fill: INK }), said([1 + away(86), 0.5, 0], title(1), { fill: INK }),
        said([0, 1, 1 + away(26)], `${data.score} (%)`, { fill: INK })];
      const frame = [[[0, 0, 0], [1, 0, 0]], [[1, 0, 0], [1, 1, 0]], [[1, 1, 0], [0, 1, 0]], [[0, 1, 0], [0, 0, 0]], [[0, 1, 0], [0, 1, 1]]].map(([a, b]) => edge(a, b, { stroke: FAINT }));
      const at = (point) => [...spaceCosts.map((axis, index) => scales[index].at(point.cost[axis.key])), heights.at(100 * point.search.value)];
      marks = placed.map((point) => { const place = at(point), [x, y, deep] = project(...place); return { point, place, x, y, deep }; }).sort((a, b) => b.deep - a.deep);
      const drawn = marks.flatMap(({ point, place, x, y }) => {
        const grey = over(point), chosen = point.name === state.name, style = point.kind === "baseline" ? baselineStyle(point) : ["circle", BLUE];
        return [edge([place[0], place[1], 0], place, { stroke: grey ? PALE : FAINT, opacity: 0.7 }),
          mark(style[0], x, y, 5.5, { fill: grey ? PALE : style[1], stroke: "white" }),
          chosen ? mark("circle", x, y, 10, { fill: "none", stroke: INK, "stroke-width": 2 }) : null].filter(Boolean);
      });
      const boxes = marks.map(({ x, y }) => [x - 5, y - 5, x + 5, y + 5]);
      const order = [state.name, data.chosen?.name, data.knee, ...baselines.map((point) => point.name)];
      const names = [...new Set(order)].map((name) => marks.find(({ point }) => point.name === name)).filter(Boolean).map(({ point, x, y }) => {
        const spot = findSpot(point.name, x, y, boxes, { left: 0, right: width, top: 0, bottom: height });
        return spot ? text(...spot, point.name, { "font-size": 11, class: "halo", fill: INK, "font-weight": point.name === state.name ? 600 : 400 }) : null;
      }).filter(Boolean);
      node.replaceChildren(...floor, ...frame, ...titles, ...drawn, ...names);
    };
    const turn = (around, above) => { turned.around += around; turned.above = Math.max(0, Math.min(1.45, turned.above + above)); render(); };
    node.addEventListener("keydown", (event) => {
      const by = { ArrowLeft: [-0.1, 0], ArrowRight: [0.1, 0], ArrowUp: [0, 0.1], ArrowDown: [0, -0.1] }[event.key];
      if (by) { event.preventDefault(); turn(...by); }
    });
    let start = null;
    node.addEventListener("pointerdown", (event) => { start = { x: event.clientX, y: event.clientY, moved: 0 }; node.setPointerCapture(event.pointerId); });
    node.addEventListener("pointermove", (event) => {
      const near = marks.find(({ x, y }) => { const area = node.getBoundingClientRect(); return Math.hypot(area.left + x - event.clientX, area.top + y - event.clientY) < 9; });
      if (near && !start) showTip(event, describe(near.point)); else hideTip();
      if (!start) return;
      const [dx, dy] = [event.clientX - start.x, event.clientY - start.y];
      start = { x: event.clientX, y: event.clientY, moved: start.moved + Math.hypot(dx, dy) };
      turn(dx * 0.01, dy * 0.008);
    });
    node.addEventListener("pointerleave", hideTip);
    node.addEventListener("pointerup", (event) => {
      const area = node.getBoundingClientRect();
      if (start && start.moved < 5) {
        const near = marks.map((entry) => ({ ...entry, far: Math.hypot(area.left + entry.x - event.clientX, area.top + entry.y - event.clientY) })).sort((a, b) => a.far - b.far)[0];
        if (near && near.far < (event.pointerType === "touch" ? TOUCH : POINTER)) select(near.point.name);
      }
      start = null;
    });
    render();
    box.append(node);
  },
});
