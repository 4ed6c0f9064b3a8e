// Draws the page from the JSON of #data. Strings enter the page as text nodes only: no name can become markup.
"use strict";

(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const narrow = window.matchMedia("(max-width: 640px)");
  const layers = data.classes_figures;
  const state = { order: "score", scale: "layer", layer: Math.max(layers.length - 2, 0) };

  const ORDERS = [["score", "by score"], ["channel", "in channel order"]];
  const SCALES = [["layer", "over each layer's largest"], ["network", "one scale for all"]];
  // The legend's colours, from -1 to 1 (ColorBrewer's RdBu).
  const COLOURS = [[5, 48, 97], [67, 147, 195], [255, 255, 255], [214, 96, 77], [103, 0, 31]];

  // Elements. Children are nodes or strings.

  function element(tag, attributes, ...children) {
    const node = document.createElement(tag);
    for (const [key, value] of Object.entries(attributes ?? {})) node.setAttribute(key, value);
    node.append(...children.flat());
    return node;
  }

  const put = (id, ...children) => document.getElementById(id).replaceChildren(...children);
  const signed = (value) => `${value < 0 ? "−" : "+"}${Math.abs(value).toPrecision(3)}`;

  // The heat maps.

  function draw(id, figure) {
    const layout = structuredClone(figure.layout);
    if (narrow.matches) {
      layout.font.size = 10;
      layout.margin.l = 40;
    }
    const config = {
      responsive: true, displaylogo: false, modeBarButtons: [["zoom2d", "pan2d", "resetScale2d", "toImage"]],
      toImageButtonOptions: { format: "svg", filename: "relevance" },
    };
    const plot = document.getElementById(id);
    plot.style.height = `${layout.height}px`;
    Plotly.react(plot, structuredClone(figure.data), layout, config);
  }

  const drawFilters = () => draw("filters", data.filters_figures[state.order][state.scale]);
  const drawClasses = () => draw("classes", layers[state.layer].figure);

  function segments(id, key, options) {
    put(id, ...options.map(([value, title]) => {
      const input = element("input", { type: "radio", name: key, value });
      input.checked = state[key] === value;
      input.addEventListener("change", () => { state[key] = value; drawFilters(); });
      return element("label", null, input, element("span", null, title));
    }));
  }

  function chooseLayer() {
    const select = document.getElementById("layer");
    select.replaceChildren(...layers.map((entry, index) => element("option", { value: index }, entry.layer)));
    select.value = state.layer;
    select.addEventListener("change", () => { state.layer = Number(select.value); drawClasses(); });
  }

  // The images and their maps, pixel by pixel.

  function canvas(image, colour, label) {
    const node = element("canvas", { width: image.width, height: image.height, role: "img", "aria-label": label });
    const context = node.getContext("2d");
    const shown = context.createImageData(image.width, image.height);
    for (let pixel = 0; pixel < image.width * image.height; pixel++) shown.data.set([...colour(pixel), 255], 4 * pixel);
    context.putImageData(shown, 0, 0);
    return node;
  }

  function picture(image, encoded, label) {
    const bytes = atob(encoded);
    return canvas(image, (pixel) => [0, 1, 2].map((part) => bytes.charCodeAt(3 * pixel + part)), label);
  }

  function diverging(value) {
    const place = (Math.min(Math.max(value, -1), 1) + 1) * 2;
    const below = Math.min(Math.floor(place), COLOURS.length - 2);
    return COLOURS[below].map((part, index) => Math.round(part + (place - below) * (COLOURS[below + 1][index] - part)));
  }

  function map(image, values, label) {
    const node = canvas(image, (pixel) => diverging(values.full ? values.values[pixel] / values.full : 0), label);
    node.addEventListener("mousemove", (event) => {
      const box = node.getBoundingClientRect();
      const column = Math.min(Math.floor(((event.clientX - box.left) / box.width) * image.width), image.width - 1);
      const row = Math.min(Math.floor(((event.clientY - box.top) / box.height) * image.height), image.height - 1);
      node.title = `row ${row}, column ${column}: ${signed(values.values[row * image.width + column])}`;
    });
    const told = values.full ? `${signed(values.total)} (±${values.full.toPrecision(2)})` : "contributes nothing";
    return element("td", null, node, element("small", null, told));
  }

  function showPixels() {
    const titles = ["whole network", ...data.filters];
    const heads = ["", "image", "reference", ...titles].map((title) => element("th", { scope: "col" }, title));
    const rows = data.images.map((image) => {
      const name = image.input ? `${image.input} of image ${image.index}` : `image ${image.index}`;
      return element("tr", null,
        element("th", { scope: "row" }, `Image ${image.index}`, image.input ? element("small", null, image.input) : [],
          image.label === null ? [] : element("small", null, `label ${image.label}`),
          image.explained === null ? [] : element("small", null, `explained as ${image.explained}`)),
        element("td", null, picture(image, image.pixels, name)),
        element("td", null, picture(image, image.reference, `reference of ${name}`)),
        image.maps.map((values, index) => map(image, values, `${titles[index]}, ${name}`)));
    });
    put("pixels", element("table", null, element("thead", null, element("tr", null, heads)), element("tbody", null, rows)));
  }

  put("title", `Relevance: ${data.title}`);
  put("subtitle", data.facts.map(([key, value]) => `${key} ${value}`).join(" · "));
  put("notes", ...data.notes.map((note) => element("p", null, note)));
  document.getElementById("notes").hidden = !data.notes.length;
  document.getElementById("classes-section").hidden = !layers.length;
  document.getElementById("pixels-section").hidden = !data.images.length;

  segments("orders", "order", ORDERS);
  segments("scales", "scale", SCALES);
  drawFilters();
  if (layers.length) {
    chooseLayer();
    drawClasses();
  }
  if (data.images.length) showPixels();
  narrow.addEventListener("change", () => { drawFilters(); if (layers.length) drawClasses(); });
})();
