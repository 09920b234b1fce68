// The section Forward: every layer's output in order, and the sum that makes any number of it.

import { newest, post } from "./api.js";
import { indexFields, matrix, sumTable } from "./arithmetic.js";
import { differences } from "./bars.js";
import { codePart } from "./code.js";
import { $, attempt, count, el, number, place, signed, times } from "./dom.js";
import { SHORT, at, channelOf, describe, maps } from "./maps.js";
import { inputOf, model, state, trace } from "./state.js";

/** A filter with more numbers than this is not written out. */
const WRITTEN = 49;

const section = $("#page-forward");
const problem = $(".problem", section);
const list = $("#forward-layers");
let shown = []; // what the cards were made from
let target = null; // the layer that the address named last, and the place in it
const picks = new Map(); // by layer, what choosing a place does

const axesOf = (shape) => (shape.length === 3 ? ["row", "column", "map"] : ["unit"]);

/** Whether what a layer of that kind gives out are shares from 0 to 1. */
export const givesShares = (kind) => kind === "Softmax" || kind === "Sigmoid";

/** A picture of a layer's values: bars where they are few. */
export function picture(array, options) {
  if (array.shape.length > 1 || array.shape[0] > SHORT) return maps(array, options);
  return differences(array.data, { ...options, names: options.names });
}

function inputCard(answer) {
  const view = maps(inputOf(answer, null), { title: "The image, from 0 to 1", room: 260 });
  return el("article", { class: "card" }, heading("input", "the digit as the network sees it", "1 map of 28 × 28"), view);
}

function heading(name, ...facts) {
  return el("header", {}, el("h2", {}, name), el("p", { class: "hint" }, facts.filter(Boolean).join(" · ")));
}

function layerCard(answer, i) {
  const layer = answer.layers[i];
  const info = model().layers.find((one) => one.name === layer.name);
  const result = el("div", { class: "result", "aria-live": "polite" });
  const error = el("p", { class: "problem", role: "alert", hidden: true });
  const isLast = i === answer.layers.length - 1;
  const show = newest((index) => {
    view.mark(index);
    return attempt(error, async () => {
      const query = { pixels: state.pixels, layer: layer.name, index, model: state.model };
      const sum = await post("/api/trace/output", query);
      result.replaceChildren(...explain(sum, layer, index, inputOf(answer, layer)));
    });
  });
  const pick = (index) => {
    fields.set(index);
    show(index);
  };
  const names = isLast ? model().classes : null;
  picks.set(layer.name, (index) => fits(index, layer.output_shape) && pick(index));
  const view = picture(layer.output, { title: describe(layer.output_shape), pick, names, room: 560, isShare: givesShares(layer.kind) });
  const fields = indexFields(axesOf(layer.output_shape), layer.output_shape, show);
  const hint = el("p", { class: "hint" }, "Choose a value in the picture, or give its place:");
  return el(
    "article", { class: "card", "data-layer": layer.name },
    heading(
      layer.name, layer.kind, `${times(layer.input_shape)} → ${times(layer.output_shape)}`,
      info.parameters ? `${count(info.parameters)} parameters` : null,
      layer.dead == null ? null : `${(100 * layer.dead).toFixed(0)} % of the outputs are 0`,
    ),
    el("div", { class: "beside" }, view, el("div", { class: "inspector" }, hint, fields, error, result)),
    codePart(layer, "forward"),
  );
}

const fits = (index, shape) =>
  index.length === shape.length && index.every((i, axis) => i >= 0 && i < shape[axis]);

/** What made one output: the window in the input, patch and filter, and the sum. */
function explain(sum, layer, index, input) {
  const parts = [];
  const source = sum.terms.find((term) => term.source);
  if (sum.window && source) parts.push(windowPictures(sum, source, input));
  return [el("h3", {}, `${layer.name}${place(index)} = ${number(sum.value, 6)}`), ...parts, sumTable(sum, "total")];
}

function windowPictures(sum, { at: [u, v], source: [row, column, channel] }, input) {
  const box = el("div", { class: "flow" });
  const one = channelOf(input, channel);
  const title = input.shape[2] > 1 ? `input, map ${channel}` : "input";
  const where = maps(one, { title, height: 150, room: 170 });
  const [h, w] = sum.window;
  where.markWindow(row - u, column - v, h, w);
  box.append(where);
  if (sum.filter && h * w <= WRITTEN) box.append(...writtenOut(sum, channel));
  return box;
}

const then = (sign, node) => el("div", { class: "then" }, el("span", { class: "sign" }, sign), node);

/** Patch times filter of one input map, number by number. */
function writtenOut({ patch, filter }, channel) {
  const [h, w, channels] = filter.shape;
  const map = channels > 1 ? channel : 0; // the only one, where each map is looked at by itself
  const cells = (value) =>
    Array.from({ length: h }, (_, u) => Array.from({ length: w }, (_, v) => signed(value([u, v, map]), 2)));
  const product = (k) => at(patch, k) * at(filter, k);
  const which = channels > 1 ? `, map ${channel}` : "";
  return [
    matrix(`patch${which}`, cells((k) => at(patch, k))),
    then("×", matrix(`filter${which}`, cells((k) => at(filter, k)))),
    then("=", matrix("products", cells(product))),
  ];
}

export const forward = {
  section,
  needsDigit: true,
  async show(name, at) {
    await attempt(problem, async () => {
      const answer = await trace();
      const theme = document.documentElement.dataset.theme;
      const view = [answer, theme, innerWidth];
      const isRebuilt = !view.every((part, k) => part === shown[k]);
      if (isRebuilt) {
        shown = view;
        const cards = answer.layers.map((_, i) => layerCard(answer, i));
        const links = answer.layers.map((l) => el("a", { href: `#forward/${l.name}` }, l.name));
        const contents = el("nav", { class: "contents", "aria-label": "Layers" }, ...links);
        list.replaceChildren(contents, inputCard(answer), ...cards);
      }
      const wanted = `${state.model}/${name}/${at}`; // another model may have such a layer
      const isNew = target !== wanted;
      target = wanted;
      if (isNew) $(`[data-layer="${CSS.escape(name ?? "")}"]`, list)?.scrollIntoView();
      if (at && (isNew || isRebuilt)) picks.get(name)?.(at.split(".").map(Number));
    });
  },
  start() {},
};
