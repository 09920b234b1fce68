// dx explained: any entry of it is chosen, and the dy that reach it are shown, with their slopes.

import { newest, post } from "./api.js";
import { indexFields, matrix } from "./arithmetic.js";
import { compared } from "./compared.js";
import { attempt, el, number, place, signed } from "./dom.js";
import { picture } from "./forward.js";
import { at, channelOf, describe, largest, maps } from "./maps.js";
import { state } from "./state.js";

/** A window with more numbers than this is not written out. */
const WRITTEN = 49;
const axesOf = (shape) => (shape.length === 3 ? ["row", "column", "map"] : ["number"]);

/** The picture of a layer's dx, whose entries can be chosen, and the part that explains them. */
export function explainedDx(layer, options) {
  const result = el("div", { class: "result", "aria-live": "polite" });
  const error = el("p", { class: "problem", role: "alert", hidden: true });
  const show = newest((index) => {
    view.mark(index);
    return attempt(error, async () => {
      const { pixels, label, model } = state;
      const answer = await post("/api/trace/input", { pixels, label, model, layer: layer.name, index });
      const title = `dL/dx${place(index)} of ${layer.name}, where x = ${number(answer.value, 6)}`;
      result.replaceChildren(...compared(answer, title, "x", windowOf(answer, layer)));
    });
  });
  const fields = indexFields(axesOf(layer.input_shape), layer.input_shape, show);
  const pick = (index) => {
    fields.set(index);
    show(index);
  };
  const title = `dx goes on: ${describe(layer.input_shape)}`;
  const view = picture(layer.dx, { ...options, title, pick, signed: true });
  const part = el(
    "section", { class: "part", "data-dx": layer.name, "aria-label": `dx of ${layer.name}` },
    el("h3", {}, "Where a dx comes from"),
    el("p", { class: "hint" }, "Choose a value in the picture of dx, or give its place:"),
    fields, error, result,
  );
  const fits = (index) => index.length === layer.input_shape.length && index.every((i, axis) => i >= 0 && i < layer.input_shape[axis]);
  return { view, part, pick: (index) => fits(index) && pick(index) };
}

/** The window of dy, the slopes in its order, and their products: of the map that matters most. */
function windowOf(answer, layer) {
  const source = answer.terms.find((term) => term.source)?.source;
  if (!answer.window || !source) return [];
  const map = source[2];
  const box = el("div", { class: "flow" });
  const one = channelOf(layer.dy, map);
  const where = maps(one, { title: `dy, map ${map}`, height: 150, room: 170, signed: true, limit: largest(layer.dy.data) });
  if (answer.area) markInside(where, answer.area, layer.dy.shape);
  box.append(where);
  const [h, w, filters = 1] = answer.window.shape;
  if (h * w <= WRITTEN) box.append(...writtenOut(answer, filters > 1 ? map : 0, map));
  const text = answer.factor === "W"
    ? "The window of dy that saw this x, and the filter turned round: its last weight met x in the first window."
    : "The dy that reach this x, and what each is multiplied with.";
  return [el("p", { class: "hint" }, text), box];
}

/** Frame the part of the window that lies inside of dy. */
function markInside(figure, [top, left, h, w], [rows, columns]) {
  const [from, first] = [Math.max(0, top), Math.max(0, left)];
  figure.markWindow(from, first, Math.min(rows, top + h) - from, Math.min(columns, left + w) - first);
}

const then = (sign, node) => el("div", { class: "then" }, el("span", { class: "sign" }, sign), node);

function writtenOut({ window: seen, filter, factor }, tile, map) {
  const [h, w] = seen.shape;
  const index = (u, v) => (seen.shape.length > 2 ? [u, v, tile] : [u, v]);
  const cells = (value) =>
    Array.from({ length: h }, (_, u) => Array.from({ length: w }, (_, v) => signed(value(index(u, v)), 2)));
  const product = (k) => at(seen, k) * at(filter, k);
  const name = factor === "W" ? `filter ${map}, turned round` : factor;
  return [
    matrix(`window of dy, map ${map}`, cells((k) => at(seen, k))),
    then("×", matrix(name, cells((k) => at(filter, k)))),
    then("=", matrix("products", cells(product))),
  ];
}
