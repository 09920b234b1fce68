// The section What if: something is changed on a copy of the network, and what follows is shown.

import { newest, post } from "./api.js";
import { indexFields } from "./arithmetic.js";
import { differences } from "./bars.js";
import { $, attempt, count, el, fill, number, percent, say } from "./dom.js";
import { foolCard } from "./fool.js";
import { givesShares, picture } from "./forward.js";
import { at, describe, largest } from "./maps.js";
import { PixelPad } from "./pixel_pad.js";
import { model, state, trace } from "./state.js";

const section = $("#page-what-if");
const problem = $(".problem", section);
const LOOK = { room: 345, height: 400 };

let choices = null;
let changes = []; // what the server is asked to do, the oldest first
let look = null; // the layer whose values are shown
let shown = []; // what the section was made for: digit, label, model, theme, width
let parts = null;

// ---- asking ---------------------------------------------------------------------------------------

/** Of paintings that follow each other only the last counts. */
const needed = (all) => all.filter(({ kind }, k) => kind !== "paint" || all[k + 1]?.kind !== "paint");

const ask = newest((all) =>
  attempt(problem, async () => {
    const { pixels, label, model: name } = state;
    const answer = await post("/api/what-if", { pixels, label, model: name, look, changes: needed(all) });
    if (state.pixels === pixels) showAnswer(answer);
  }),
);

/** As many as the server takes at once. */
const MOST = 24;

function add(change) {
  if (needed([...changes, change]).length > MOST) {
    say(problem, `At most ${MOST} changes at once: undo some, or start over.`);
    return;
  }
  changes.push(change);
  showChanges();
  ask([...changes]);
}

function undo(all) {
  if (all) changes = [];
  else changes.pop();
  parts.pad.show(changes.findLast(({ kind }) => kind === "paint")?.pixels ?? state.pixels);
  showChanges();
  ask([...changes]);
}

// ---- what can be changed --------------------------------------------------------------------------

const labelled = (text, node) => el("label", {}, `${text} `, node);
const button = (text, attributes = {}) => el("button", { type: "button", ...attributes }, text);

function padPart() {
  const pad = new PixelPad(state.pixels, {
    moved: (pixels) => ask([...changes, { kind: "paint", pixels }]),
    ended: (pixels) => add({ kind: "paint", pixels }),
  });
  return { pad, node: el("div", {}, el("h3", {}, "Paint on the image"), pad.node) };
}

function offPart(layers) {
  const withWeights = layers.filter(({ parameters }) => parameters.length);
  const layer = el("select", {});
  fill(layer, withWeights.map(({ name }) => name));
  const unit = el("input", { type: "number", min: 0, value: 0, required: true });
  const limit = () => (unit.max = withWeights.find(({ name }) => name === layer.value).output_shape.at(-1) - 1);
  layer.addEventListener("change", limit);
  limit();
  const form = el("form", { class: "row fields" }, labelled("Layer", layer), labelled("number", unit), el("button", {}, "Switch off"));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    look = layer.value;
    add({ kind: "off", layer: layer.value, unit: Number(unit.value) });
  });
  return el("div", {}, el("h3", {}, "Switch a filter or unit off"), form);
}

function weightPart(layers) {
  const known = layers.flatMap((layer) => layer.parameters.map((parameter) => ({ layer: layer.name, ...parameter })));
  const which = el("select", {});
  fill(which, known.map(({ layer, name }, k) => [k, `${layer}.${name}`]));
  const place = el("div", {});
  const value = el("input", { type: "number", step: "any", min: -1e6, max: 1e6, required: true });
  const is = el("span", { class: "hint" });
  let index = null;
  const choose = () => {
    const one = known[which.value];
    const show = (chosen) => {
      index = chosen;
      is.textContent = `It is ${number(at(one.value, chosen), 4)}.`;
      value.value = Number((-at(one.value, chosen)).toPrecision(4));
    };
    const fields = indexFields(one.axes, one.shape, show);
    fields.querySelector("button").remove();
    place.replaceChildren(fields);
    show(one.shape.map(() => 0));
  };
  which.addEventListener("change", choose);
  choose();
  const form = el("form", { class: "row fields" }, labelled("becomes", value), el("button", {}, "Change it"), is);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const { layer, name } = known[which.value];
    look = layer;
    add({ kind: "set", layer, parameter: name, index, value: Number(value.value) });
  });
  return el("div", { class: "weight" }, el("h3", {}, "Give a weight another value"), el("div", { class: "row fields" }, labelled("Weight", which)), place, form);
}

function learnPart() {
  const optimizer = el("select", {});
  fill(optimizer, choices.optimizers);
  const rate = el("input", { type: "number", min: 1e-6, max: 10, step: "any", required: true });
  // a batch's gradient is a mean over many digits; that of one alone is larger
  const usual = () => (rate.value = Number((choices.learning_rates[optimizer.value] / 100).toPrecision(3)));
  optimizer.addEventListener("change", usual);
  usual();
  const steps = el("input", { type: "number", min: 1, max: 10, value: 3, required: true });
  const form = el(
    "form", { class: "row fields" },
    labelled("Steps", steps), labelled("of", optimizer), labelled("learning rate", rate), el("button", {}, "Take them"),
  );
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const [many, learning_rate] = [steps, rate].map((input) => Number(input.value));
    add({ kind: "learn", steps: many, optimizer: optimizer.value, learning_rate });
  });
  return el("div", {}, el("h3", {}, "Learn from this digit alone"), form);
}

// ---- what follows ---------------------------------------------------------------------------------

function showChanges() {
  parts.undo.disabled = parts.again.disabled = !changes.length;
  if (!changes.length) parts.done.replaceChildren(el("li", { class: "hint" }, "Nothing yet."));
}

function showAnswer(answer) {
  const { classes } = model();
  const { before, now, losses } = answer;
  const names = answer.changes.map((text) => el("li", {}, text));
  if (names.length) parts.done.replaceChildren(...names);
  const reads = ({ probabilities }) => {
    const best = probabilities.indexOf(Math.max(...probabilities));
    return `${classes[best]}, ${percent(probabilities[best])}`;
  };
  const row = (name, a, b) => el("div", {}, el("dt", {}, name), el("dd", {}, el("span", { class: "before" }, a), " → ", el("b", { class: "after" }, b)));
  const moved = now.probabilities.map((p, k) => p - before.probabilities[k]);
  parts.outcome.replaceChildren(
    el(
      "dl", { class: "facts" },
      row("read as", reads(before), reads(now)),
      row(`loss, label ${classes[answer.label]}`, number(before.loss, 4), number(now.loss, 4)),
    ),
    losses.length ? el("p", { class: "hint" }, `Loss step by step: ${losses.map((loss) => number(loss, 3)).join(" → ")}`) : "",
    differences(moved, { names: classes, title: "Change of each probability" }),
  );
  showMoved(answer);
  showLayer(answer);
}

/** How far each layer's values have moved, as a share of what they were. */
function showMoved({ moved, look: chosen }) {
  const share = (by, of) => (of ? by / of : by ? 1 : 0);
  const body = moved.map((one) => {
    const name = el("button", { type: "button", class: "quiet", onclick: () => lookAt(one.layer) }, one.layer);
    if (one.layer === chosen) name.setAttribute("aria-current", "true");
    const cells = [share(one.output_moved, one.output), one.dy == null ? null : share(one.dy_moved ?? 0, one.dy)];
    return el("tr", { class: one.layer === chosen ? "chosen" : "" }, el("td", {}, name), ...cells.map((value) => el("td", {}, value == null ? "–" : percent(value))));
  });
  const head = el("tr", {}, ...["layer", "y moved", "dy moved"].map((text) => el("th", {}, text)));
  parts.moved.replaceChildren(el("table", { class: "classes moved" }, el("thead", {}, head), el("tbody", {}, ...body)));
}

function lookAt(name) {
  look = name;
  ask([...changes]);
}

function showLayer(answer) {
  const { output_before: was, output_now: now, dy_before, dy_now, look: name } = answer;
  const pair = (before, after, letter, options = {}) => {
    const limit = Math.max(largest(before.data), largest(after.data));
    const look_ = { ...LOOK, ...options, limit };
    return [picture(before, { ...look_, title: `${letter} before: ${describe(before.shape)}` }), picture(after, { ...look_, title: `${letter} now` })];
  };
  const { kind } = model().layers.find((layer) => layer.name === name);
  parts.layer.replaceChildren(
    el("h3", {}, name),
    el("div", { class: "through" }, ...pair(was, now, "y", { isShare: givesShares(kind) })),
    dy_before && dy_now ? el("div", { class: "through" }, ...pair(dy_before, dy_now, "dy", { signed: true })) : "",
  );
}

// ---- the section ----------------------------------------------------------------------------------

async function render() {
  const view = [state.pixels, state.label, state.model, document.documentElement.dataset.theme, innerWidth];
  if (view.every((part, k) => part === shown[k])) return;
  const isOther = view.slice(0, 3).some((part, k) => part !== shown[k]);
  const answer = await trace();
  shown = view;
  if (isOther) {
    changes = [];
    look = answer.layers[0].name;
  }
  build(answer);
  parts.pad.show(changes.findLast(({ kind }) => kind === "paint")?.pixels ?? state.pixels);
  showChanges();
  await ask([...changes]);
}

function build(answer) {
  const { pad, node } = padPart();
  const known = ["done", "outcome", "moved", "layer"].map((name) => [name, el(name === "done" ? "ol" : "div", { class: `tried-${name}` })]);
  parts = { pad, ...Object.fromEntries(known), undo: button("Undo", { onclick: () => undo(false) }), again: button("Start over", { onclick: () => undo(true) }) };
  parts.outcome.setAttribute("aria-live", "polite");
  const weights = answer.layers.reduce((sum, { parameters }) => sum + parameters.reduce((all, { shape }) => all + shape.reduce((a, b) => a * b, 1), 0), 0);
  $("#what-if").replaceChildren(
    el(
      "div", { class: "trying" },
      el("div", { class: "card changes" }, el("h2", {}, "Change something"), el("p", { class: "hint" }, `${count(weights)} weights, ${answer.layers.length} layers, 784 pixels.`), node, offPart(answer.layers), weightPart(answer.layers), learnPart()),
      el(
        "div", {},
        el("div", { class: "card" }, el("h2", {}, "What was changed"), parts.done, el("div", { class: "row" }, parts.undo, parts.again)),
        el("div", { class: "card" }, el("h2", {}, "What follows"), parts.outcome),
        el("div", { class: "card" }, el("h2", {}, "Where it shows"), el("p", { class: "hint" }, "How far each layer's values are from what they were. Choose a layer to see them."), el("div", { class: "scroll" }, parts.moved), parts.layer),
      ),
    ),
    foolCard(),
  );
}

export const whatIf = {
  section,
  needsDigit: true,
  show: () => attempt(problem, render),
  start(offered) {
    choices = offered;
  },
};
