// The roofline of the chosen point (Williams, Waterman and Patterson, Communications of the ACM 52(4), 2009).

const BOUND_STYLES = { compute: ["circle", BLUE], sram: ["diamond", ORANGE], dram: ["square", VERMILION], decoder: ["triangle", GREEN] };

if (data.roofs) VIEWS.push({
  id: "roofline", title: "Roofline", follows: true,
  about: "What each layer of the chosen point reaches, and what the arithmetic and the memories of the device allow at its widths: min(peak, operational intensity × bandwidth). The size of a mark is the layer's share of the time.",
  draw(box, point) {
    const { clock_hz: clock, bandwidth, peaks } = data.roofs;
    const layers = (point.cost.layers ?? []).filter((row) => row.macs && row.latency_cycles && row.memory_bits);
    if (!layers.length) { box.append(caption("Known of members of the front and of networks that run on the device: choose one.")); return; }
    const cycles = point.cost.layers.reduce((sum, row) => sum + row.latency_cycles, 0), widest = peaks.at(-1);
    const marks = layers.map((row) => {
      const [, , weights, inputs, peak] = peaks.find(([w, i]) => w === (row.weight_bits ?? widest[0]) && i === row.activation_bits) ?? widest;
      const intensity = (8 * row.macs) / row.memory_bits, rate = (row.macs * clock) / row.latency_cycles;
      return { row, weights, inputs, peak, intensity, rate, share: row.latency_cycles / cycles, attainable: Math.min(peak, intensity * bandwidth) };
    });
    const roofs = [...new Map(marks.map(({ weights, inputs, peak }) => [`${weights}-bit weights, ${inputs}-bit inputs`, peak])).entries()].sort((a, b) => b[1] - a[1]);
    const x = { ...makeScale([...marks.map((entry) => entry.intensity), ...roofs.map(([, peak]) => peak / bandwidth)].flatMap((value) => [value / 2, value * 2]), { log: true }), title: "operational intensity (MACs per byte)" };
    const y = { ...makeScale([...marks.map((entry) => entry.rate / 1.5), ...roofs.map(([, peak]) => peak * 1.5)], { log: true }), title: "MACs per second" };
    const frame = makeFrame(wide(box), 380, x, y);
    const [left, right] = [10 ** x.from, 10 ** x.to];
    roofs.forEach(([title, peak], index) => {
      const ridge = Math.min(Math.max(peak / bandwidth, left), right);
      frame.plot.append(svg("path", { d: `M${frame.across(left)} ${frame.up(left * bandwidth)}L${frame.across(ridge)} ${frame.up(ridge * bandwidth)}L${frame.across(right)} ${frame.up(peak)}`, fill: "none", stroke: MUTED, "stroke-width": 1.4, "stroke-dasharray": ["none", "7 3", "2 3", "8 3 2 3"][index % 4] }));
      frame.free.append(text(frame.right - 6, frame.up(peak) - 5, title, { "text-anchor": "end", "font-size": 11, class: "halo" }));
    });
    const boxes = [];
    const largest = Math.max(...marks.map((entry) => entry.share));
    for (const { row, intensity, rate, share, attainable, weights, inputs } of marks) {
      const [shape, fill] = BOUND_STYLES[row.bound] ?? ["star", PURPLE];
      const node = mark(shape, frame.across(intensity), frame.up(rate), Math.max(4, 14 * Math.sqrt(share / largest)), { fill, opacity: 0.75, stroke: "white" });
      const said = [row.layer, `${weights}-bit weights, ${inputs}-bit inputs`, `${short(rate)} MACs per second, ${percent(rate / attainable)} of what the roof allows`,
        `${significant(intensity)} MACs per byte`, `${count(row.latency_cycles)} cycles, ${percent(share, 1)} of the network; bound by ${row.bound}`];
      node.addEventListener("pointermove", (event) => showTip(event, said));
      node.addEventListener("pointerleave", hideTip);
      node.append(svg("title", null, said.join("\n")));
      frame.plot.append(node);
      const spot = share > 0.12 ? findSpot(row.layer, frame.across(intensity), frame.up(rate), boxes, frame) : null;
      if (spot) frame.free.append(text(...spot, row.layer, { "font-size": 11, class: "halo" }));
    }
    const bounds = [...new Set(marks.map((entry) => entry.row.bound))];
    box.append(frame.node, element("ul", { class: "legend" }, legend(bounds.map((bound) => [(BOUND_STYLES[bound] ?? ["star"])[0], { fill: (BOUND_STYLES[bound] ?? [0, PURPLE])[1] }, `bound by ${bound}`]))));
  },
});
