// What to say where a loss is so small that its gradients mean nothing, or next to nothing.

import { el, number, percent } from "./dom.js";
import { offerHard } from "./samples.js";
import { model, update } from "./state.js";

/** Half of float32's step below 1: training's own 1 − p, and with it the loss, would be 0 here. */
export const ROUNDING = 2 ** -24;
/** Below this loss the label has more than 99.9 %. */
const SURE = 1e-3;

export const isDust = (loss) => loss !== null && loss < ROUNDING;

/** The class that comes next after the label. */
function runnerUp({ probabilities, label }) {
  const others = probabilities.map((p, k) => (k === label ? -1 : p));
  return others.indexOf(Math.max(...others));
}

/** How little there is to blame, in words. isOff: it is drawn all the same, scaled up. */
export function said({ loss, label, probabilities }, classes, isOff = false) {
  if (!isDust(loss)) {
    return `There is little to blame: the network gives ${classes[label]} ${percent(probabilities[label])}, the loss is ${number(loss, 2)}. The gradients are small; colours are scaled up to each layer's largest.`;
  }
  const scaled = isOff ? ", and the pictures are scaled up" : ", so it is not drawn";
  return `There is nothing to blame: the loss is ${number(loss, 2)}, below what float32 can tell from 0 (${number(ROUNDING, 1)}). A gradient now is dust at rounding level${scaled}.`;
}

/**
 * Fill `box`, or hide it where the loss is large enough. `show()` is called to see dust all the
 * same, scaled up; isOff: it is shown already; without `show` it is not offered.
 */
export function dustNotice(box, answer, { show = null, isOff = false } = {}) {
  const { loss } = answer;
  box.hidden = !(loss !== null && loss < SURE);
  if (box.hidden) return;
  const { classes } = model();
  const next = runnerUp(answer);
  const hard = el("div", { class: "samples" });
  offerHard(hard);
  box.replaceChildren(
    el("p", {}, said(answer, classes, isOff)),
    el(
      "div", { class: "row" },
      el("span", {}, "To see a gradient:"),
      el("button", { type: "button", onclick: () => update({ label: next }) }, `Say it is a ${classes[next]}`),
      el("span", { class: "hint" }, "or take a hard digit:"),
      hard,
      isDust(loss) && show && !isOff ? el("button", { type: "button", class: "quiet", onclick: show }, "Show the dust, scaled up") : null,
    ),
  );
}
