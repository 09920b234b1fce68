// The code, running: a layer's own source, stepped line by line on the digit that is looked at.

import { post } from "./api.js";
import { attempt, el, times } from "./dom.js";
import { SHORT, maps } from "./maps.js";
import { state } from "./state.js";

/** Pictures of what a line made: so much room each. */
const LOOK = { room: 420, height: 260, most: 8 };

/**
 * A part of a layer's card. Nothing is asked for until it is opened.
 *   direction   "forward" or "backward"
 */
export function codePart(layer, direction) {
  const inside = el("div", {});
  const error = el("p", { class: "problem", role: "alert", hidden: true });
  const part = el(
    "details", { class: "part code", "data-code": `${layer.name}.${direction}` },
    el("summary", {}, `The code, running: ${layer.kind}.${direction}`),
    error, inside,
  );
  let isThere = false;
  part.addEventListener("toggle", () => {
    if (!part.open || isThere) return;
    isThere = true;
    attempt(error, async () => {
      const { pixels, label, model } = state;
      const query = { pixels, label, model, layer: layer.name, direction };
      inside.replaceChildren(stepper(await post("/api/trace/code", query)));
    }).then(() => (isThere = error.hidden));
  });
  return part;
}

/** The lines, the one that has just run marked, and what it made. */
function stepper({ file, functions, steps, cut }) {
  const rows = new Map();
  const listing = el("div", { class: "listing scroll", tabindex: 0, role: "region", "aria-label": `Source, ${file}` });
  for (const { name, first, lines } of functions) {
    const margin = Math.min(...lines.filter((line) => line.trim()).map((line) => line.search(/\S/)));
    const items = lines.map((line, k) => {
      const row = el("li", {}, el("span", { class: "at" }, String(first + k)), el("code", {}, line.slice(margin) || " "));
      rows.set(`${name} ${first + k}`, row);
      return row;
    });
    listing.append(el("ol", {}, ...items));
  }
  const made = el("div", { class: "made", "aria-live": "polite" });
  const position = el("input", { type: "range", min: 0, max: steps.length - 1, value: 0, "aria-label": "Line by line" });
  const said = el("span", { class: "hint" });
  const [before, after] = [["←", "Line before", -1], ["→", "Next line", 1]].map(([sign, name, by]) =>
    el("button", { type: "button", "aria-label": name, onclick: () => show(Number(position.value) + by) }, sign),
  );

  function show(k) {
    const step = steps[Math.max(0, Math.min(steps.length - 1, k))];
    k = steps.indexOf(step);
    position.value = k;
    position.setAttribute("aria-valuetext", `line ${step.line}`);
    before.disabled = k === 0;
    after.disabled = k === steps.length - 1;
    rows.forEach((row) => row.classList.remove("now"));
    for (let line = step.line; line <= step.end; line++) rows.get(`${step.function} ${line}`)?.classList.add("now");
    keepInSight(listing, rows.get(`${step.function} ${step.line}`));
    const more = cut && k === steps.length - 1 ? "; more lines ran than are kept" : "";
    said.textContent = `Line ${step.line} of ${file}, ${k + 1} of ${steps.length}${more}`;
    made.replaceChildren(...(step.made.length ? step.made.map(view) : [el("p", { class: "hint" }, "It made nothing new.")]));
  }
  position.addEventListener("input", () => show(Number(position.value)));
  show(0);
  return el(
    "div", {},
    el("div", { class: "row steps-row" }, before, position, after, said),
    el("div", { class: "code-and-made" }, listing, made),
  );
}

/** Scroll the listing alone, not the page. */
function keepInSight(box, row) {
  if (!row) return;
  const top = row.offsetTop - box.offsetTop;
  if (top < box.scrollTop || top > box.scrollTop + box.clientHeight - 40) box.scrollTop = top - box.clientHeight / 3;
}

/** One thing that a line made: its name, shape and range, and a picture of an array. */
function view({ name, text, value, every }) {
  const what = el("p", {}, el("code", {}, name), ` ${text.replaceAll("-", "−")}`);
  if (!value || value.data.length <= 1) return el("div", {}, what);
  const thinned = every.some((step) => step > 1) ? el("p", { class: "hint" }, `The picture has ${times(value.shape)} of these numbers, evenly spread.`) : null;
  if (value.shape.length === 1 && value.shape[0] <= SHORT) {
    return el("div", {}, what, el("p", { class: "hint" }, [...value.data].map((v) => Number(v.toPrecision(3))).join(",  ").replaceAll("-", "−")));
  }
  const shape = value.shape.length > 4 ? [value.shape.reduce((a, b) => a * b, 1)] : value.shape;
  const figure = maps({ shape, data: value.data }, { ...LOOK, title: name, least: 1 });
  figure.querySelector("figcaption").remove();
  return el("div", {}, what, figure, thinned);
}
