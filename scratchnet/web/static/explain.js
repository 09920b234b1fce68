// The section Explain: which parts of the image speak for a class, by three methods.

import { newest, post } from "./api.js";
import { $, attempt, el, fill } from "./dom.js";
import { legend, offset } from "./maps.js";
import { model, state } from "./state.js";

const METHODS = [
  ["gradcam", "Grad-CAM", "weighted maps", "The maps of a convolution, each weighted by how much it raises the score of the class."],
  ["saliency", "Saliency", "score per brightness", "How strongly the score answers to a small change of each pixel."],
  ["occlusion", "Occlusion", "probability lost", "How much of the probability goes when a square of 7 × 7 covers the place. Blue: the class gains."],
];
const CELL = 10;
const SIDE = 28;

const section = $("#page-explain");
let cards = null;

function makeCard([method, name, unit, text]) {
  const canvas = el("canvas", { width: SIDE * CELL, height: SIDE * CELL, role: "img", class: "heat", "aria-label": `${name}, not there yet` });
  const below = el("div", { class: "below" });
  const error = el("p", { class: "problem", role: "alert", hidden: true });
  const layers = method === "gradcam" ? el("select") : null;
  const show = newest(() =>
    attempt(error, async () => {
      const query = { pixels: state.pixels, method, label: state.label, model: state.model };
      if (layers) query.layer = layers.value || null;
      const answer = await post("/api/explain", query);
      paint(canvas, answer, name);
      const limit = answer.largest;
      const scale = legend(limit, answer.map.data.some((value) => value < 0), "over");
      below.replaceChildren(scale, limit ? unit : "nothing speaks for it");
    }),
  );
  layers?.addEventListener("change", show);
  const node = el(
    "article", { class: "card", "data-method": method },
    el("h2", {}, name), el("p", { class: "hint about" }, text),
    layers ? el("label", {}, "Layer ", layers) : null,
    canvas, below, error,
  );
  return { node, show, layers };
}

/** The digit in grey, and over it the map: the stronger, the more opaque. */
function paint(canvas, { map, label }, name) {
  const context = canvas.getContext("2d");
  const style = getComputedStyle(document.documentElement);
  const [below, above] = ["--route-below", "--route-above"].map((c) => style.getPropertyValue(c));
  for (let i = 0; i < SIDE; i++) {
    for (let j = 0; j < SIDE; j++) {
      const value = map.data[offset(map.shape, [i, j])];
      const level = 0.75 * state.pixels[i][j];
      const place = [j * CELL, i * CELL, CELL, CELL];
      context.globalAlpha = 1;
      context.fillStyle = `rgb(${level} ${level} ${level})`;
      context.fillRect(...place);
      context.globalAlpha = 0.85 * Math.min(1, Math.abs(value));
      context.fillStyle = value < 0 ? below : above;
      context.fillRect(...place);
    }
  }
  canvas.setAttribute("aria-label", `${name} for class ${model().classes[label]}, over the digit`);
}

export const explain = {
  section,
  needsDigit: true,
  show() {
    // Grad-CAM looks between the layers of the model's own row, not inside of one
    const isOuter = ({ name }) => !name.includes(".");
    const maps = model().layers.filter((layer) => isOuter(layer) && layer.output_shape.length === 3);
    for (const { layers, show } of cards) {
      if (layers) {
        const known = maps.some((layer) => layer.name === layers.value);
        fill(layers, [["", "last convolution"], ...maps.map((l) => l.name)], known ? layers.value : "");
      }
      show();
    }
  },
  start() {
    cards = METHODS.map(makeCard);
    $("#explanations").replaceChildren(...cards.map((card) => card.node));
  },
};
