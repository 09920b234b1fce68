// The section Backward: step by step from the loss to the image, and the sum of any gradient.

import { newest, post } from "./api.js";
import { indexFields } from "./arithmetic.js";
import { differences } from "./bars.js";
import { codePart } from "./code.js";
import { compared, factors } from "./compared.js";
import { $, attempt, count, el, fill, number, percent, place, signed, times } from "./dom.js";
import { dustNotice } from "./dust.js";
import { picture } from "./forward.js";
import { explainedDx } from "./inputs.js";
import { at, channelOf, describe, largest, maps } from "./maps.js";
import { inputOf, model, state, trace } from "./state.js";

const LOSS = "loss";
/** An address such as "dx.4.5.0" names an entry of dx. */
const DX = "dx.";

const section = $("#page-backward");
const problem = $(".problem", section);
const stage = $("#backward-step");
let steps = [];
let step = 0;
let shown = [];
let pickDx = null; // what choosing an entry of dx does, on the card that is shown
let picked = null; // the address whose entry was chosen

// ---- the steps ------------------------------------------------------------------------------------

async function render(name) {
  const answer = await trace();
  steps = [LOSS, ...answer.layers.map((layer) => layer.name).reverse()];
  step = Math.max(0, steps.indexOf(name));
  const view = [answer, step, document.documentElement.dataset.theme, innerWidth];
  if (shown.length && view.every((part, k) => part === shown[k])) return;
  if (shown[0] !== answer) $("#step-result").replaceChildren();
  shown = view;
  const links = steps.map((text, k) =>
    el("li", {}, el("a", { href: `#backward/${text}`, "aria-current": k === step && "step" }, text)),
  );
  $("#steps").replaceChildren(...links);
  keepInSight($("#steps"), links[step]);
  $("#step-up").disabled = step === 0;
  $("#step-down").disabled = step === steps.length - 1;
  dustNotice($("#backward-dust"), answer, { isOff: true });
  stage.replaceChildren(step === 0 ? lossCard(answer) : layerCard(answer, answer.layers.length - step));
}

function keepInSight(row, item) {
  row.scrollLeft = item.offsetLeft - row.offsetLeft - (row.clientWidth - item.clientWidth) / 2;
}

function move(by) {
  const next = step + by;
  if (next >= 0 && next < steps.length) location.hash = `#backward/${steps[next]}`;
}

function onKey(event) {
  const isTyping = event.target.closest("input, select, textarea");
  const isPicking = event.target.closest("canvas");
  if (section.hidden || !steps.length || isTyping || isPicking || event.altKey || event.ctrlKey || event.metaKey) return;
  if (event.key === "ArrowRight") move(1);
  else if (event.key === "ArrowLeft") move(-1);
  else return;
  event.preventDefault();
}

// ---- what a step shows ----------------------------------------------------------------------------

function lossCard({ label, loss, loss_formula, loss_gradient, one_hot, probabilities, dlogits }) {
  const { classes } = model();
  const letter = loss_gradient.split(" = ")[0] || "gradient";
  const row = (cells, tag = "td") => el("tr", {}, ...cells.map((cell) => el(tag, {}, cell)));
  const rows = probabilities.map((p, k) => {
    const line = row([classes[k], number(p, 3), number(one_hot[k], 3), signed(dlogits[k], 3)]);
    line.classList.toggle("chosen", k === label);
    return line;
  });
  const table = el(
    "table", { class: "classes" },
    el("thead", {}, row(["class", "probability", "one-hot", letter], "th")),
    el("tbody", {}, ...rows),
  );
  return el(
    "article", { class: "card", "data-step": LOSS },
    el(
      "header", {},
      el("h2", {}, "The loss"),
      el("p", {}, el("code", {}, `${loss_formula || "L"} = ${number(loss, 6)}`), `, with the label ${classes[label]}`),
      el("p", { class: "hint" }, `Its gradient${loss_gradient && `, ${loss_gradient},`} is what every step back begins with.`),
    ),
    el("div", { class: "beside" }, el("div", { class: "scroll" }, table), differences(dlogits, { names: classes, title: `${letter}: how the loss changes with each output`, limit: Math.max(1, ...dlogits.map(Math.abs)) })),
  );
}

function layerCard(answer, i) {
  const layer = answer.layers[i];
  const isLast = i === answer.layers.length - 1;
  const { classes } = model();
  const views = el("div", { class: "through" });
  const half = { room: 540, height: 330 };
  if (layer.dy) {
    const names = layer.output_shape.length === 1 && layer.output_shape[0] === classes.length ? classes : null;
    views.append(picture(layer.dy, { ...half, title: `dy arrives: ${describe(layer.output_shape)}`, names, signed: true }));
  }
  const dx = explainedDx(layer, { ...half, names: isLast ? classes : null });
  pickDx = dx.pick;
  views.append(dx.view);
  const { rms } = layer;
  const sizes = [["dy", rms.dy], ["dx", rms.dx], ...layer.parameters.map((p) => [`d${p.name}`, p.gradient_rms])];
  return el(
    "article", { class: "card", "data-step": layer.name },
    el(
      "header", {},
      el("h2", {}, layer.name),
      el("p", { class: "hint" }, `${layer.kind} · ${times(layer.input_shape)} → ${times(layer.output_shape)}`),
      el("p", {}, layer.formula ?? "dx = dy through the layer's own derivative"),
      el(
        "p", { class: "hint" }, "Root mean square: ",
        sizes.filter(([, size]) => size != null).map(([name, size]) => `${name} ${number(size, 3)}`).join(" · "),
      ),
    ),
    views,
    dx.part,
    layer.winners ? routing(layer, inputOf(answer, layer)) : null,
    layer.slope ? gate(layer) : null,
    layer.parameters.length ? parameterPart(layer) : null,
    layer.dy ? codePart(layer, "backward") : null,
  );
}

function gate({ slope }) {
  const share = slope.data.filter((value) => value !== 0).length / slope.data.length;
  return el(
    "div", { class: "part" },
    el("h3", {}, "What dy is multiplied with"),
    el("p", { class: "hint" }, `The slope dy/dx at every place; it is 0, and stops dy, at ${percent(1 - share)} of them.`),
    picture(slope, { title: "dy/dx", room: 540, height: 330 }),
  );
}

/** For one map: the input with every window's winner framed in the colour of the dy it gets. */
function routing(layer, input) {
  const channels = layer.output_shape[2];
  const box = el("div", { class: "through" });
  const show = ([channel]) => {
    const canvas = routes(layer, input, channel);
    box.replaceChildren(
      el("figure", { class: "maps" }, el("figcaption", {}, `input, map ${channel}: frames mark who gets a dy`), el("div", { class: "scroll" }, canvas)),
      maps(channelOf(layer.dy, channel), { title: `dy, map ${channel}`, signed: true, most: 20, height: 280, room: 300, limit: largest(layer.dy.data) }),
    );
  };
  const fields = indexFields(["map"], [channels], show);
  const first = [strongest(layer.dy, channels)];
  fields.set(first);
  show(first);
  return el(
    "div", { class: "part" },
    el("h3", {}, "Where pooling sends the gradient"),
    el("p", { class: "hint" }, "Each window hands its dy to its largest pixel alone: orange frames raise the loss with that pixel, blue ones lower it."),
    fields, box,
  );
}

function strongest(dy, channels) {
  const sums = new Float32Array(channels);
  dy.data.forEach((value, k) => (sums[k % channels] += Math.abs(value)));
  return sums.indexOf(Math.max(...sums));
}

function routes({ winners, dy }, input, channel) {
  const CELL = 11;
  const [h, w] = input.shape;
  const style = getComputedStyle(document.documentElement);
  const one = channelOf(input, channel);
  const [most, mostDy] = [largest(one.data), largest(dy.data)];
  const canvas = el("canvas", { width: w * CELL, height: h * CELL, role: "img", "aria-label": `Input map ${channel} with the winners of the pooling framed` });
  const context = canvas.getContext("2d");
  for (let i = 0; i < h; i++) {
    for (let j = 0; j < w; j++) {
      const level = most ? Math.max(0, at(one, [i, j, 0]) / most) * 255 : 0;
      context.fillStyle = `rgb(${level} ${level} ${level})`;
      context.fillRect(j * CELL, i * CELL, CELL, CELL);
    }
  }
  const [rows, columns] = dy.shape;
  context.lineWidth = 3;
  for (let i = 0; i < rows; i++) {
    for (let j = 0; j < columns; j++) {
      const value = at(dy, [i, j, channel]);
      if (!value) continue;
      const [row, column] = [0, 1].map((axis) => at(winners, [i, j, channel, axis]));
      context.strokeStyle = style.getPropertyValue(value < 0 ? "--route-below" : "--route-above");
      context.globalAlpha = 0.35 + 0.65 * Math.min(1, Math.abs(value) / mostDy);
      context.strokeRect(column * CELL + 1.5, row * CELL + 1.5, CELL - 3, CELL - 3);
    }
  }
  return canvas;
}

// ---- parameters -----------------------------------------------------------------------------------

function parameterPart(layer) {
  const parts = layer.parameters.map((parameter) => oneParameter(layer, parameter));
  return el("div", { class: "part" }, el("h3", {}, "Parameters and their gradients"), ...parts);
}

function oneParameter(layer, parameter) {
  const { name, shape } = parameter;
  const result = el("div", { class: "result", "aria-live": "polite" });
  const error = el("p", { class: "problem", role: "alert", hidden: true });
  const show = newest((index) => {
    views.forEach((view) => view.mark(index));
    return attempt(error, async () => {
      const { pixels, label, model: name_ } = state;
      const query = { pixels, label, layer: layer.name, parameter: name, index, model: name_ };
      const answer = await post("/api/trace/parameter", query);
      const title = `${layer.name}.${name}${place(index)} = ${number(answer.value, 6)}`;
      result.replaceChildren(...compared(answer, title, "w", factors(answer)));
    });
  });
  const pick = (index) => {
    fields.set(index);
    show(index);
  };
  const look = { pick, room: 540, height: 300, least: shape.length === 4 ? 5 : 1, signed: true };
  const views = [
    picture(parameter.value, { ...look, title: `${name}: ${times(shape.map(count))}` }),
    picture(parameter.gradient, { ...look, title: `d${name}: its gradient` }),
  ];
  const fields = indexFields(parameter.axes, shape, show);
  return el(
    "section", { class: "parameter", "data-parameter": name, "aria-label": `Parameter ${name}` },
    el("div", { class: "through" }, ...views),
    el("p", { class: "hint" }, `Choose an entry of ${name} or d${name}, or give its place:`),
    fields, error, result,
  );
}

// ---- the optimizer --------------------------------------------------------------------------------

async function takeStep() {
  const { pixels, label, model: name } = state;
  const result = await post("/api/trace/step", {
    pixels, label, model: name,
    optimizer: $("#step-optimizer").value, learning_rate: Number($("#step-rate").value),
  });
  const { before, after, changes } = result;
  const { classes } = model();
  const row = (cells, tag = "td") => el("tr", {}, ...cells.map((cell) => el(tag, {}, cell)));
  const moved = after.probabilities.map((p, k) => p - before.probabilities[k]);
  $("#step-result").replaceChildren(
    el("p", {}, "Loss ", el("b", { class: "before" }, number(before.loss, 6)), " → ", el("b", { class: "after" }, number(after.loss, 6)), el("span", { class: "hint" }, `  ${result.optimizer}`)),
    el(
      "div", { class: "through" },
      el(
        "div", { class: "scroll" },
        el(
          "table", { class: "classes" },
          el("thead", {}, row(["class", "before", "after"], "th")),
          el("tbody", {}, ...classes.map((c, k) => row([c, percent(before.probabilities[k]), percent(after.probabilities[k])]))),
        ),
      ),
      differences(moved, { names: classes, title: "change of each probability" }),
      el(
        "div", { class: "scroll" },
        el(
          "table", { class: "classes" },
          el("thead", {}, row(["parameter", "moved by (rms)"], "th")),
          el("tbody", {}, ...changes.map((c) => row([`${c.layer}.${c.parameter}`, number(c.rms_change, 3)]))),
        ),
      ),
    ),
  );
}

export const backward = {
  section,
  needsDigit: true,
  show: (name, at) =>
    attempt(problem, async () => {
      await render(name ?? LOSS);
      const wanted = `${state.model}/${name}/${at}`;
      if (picked === wanted) return;
      picked = wanted;
      if (!at?.startsWith(DX) || step === 0) return;
      pickDx(at.slice(DX.length).split(".").map(Number));
      $("[data-dx]", stage)?.scrollIntoView();
    }),
  start({ optimizers }) {
    fill($("#step-optimizer"), optimizers);
    $("#step-up").addEventListener("click", () => move(-1));
    $("#step-down").addEventListener("click", () => move(1));
    document.addEventListener("keydown", onKey);
    $("#optimizer-form").addEventListener("submit", (event) => {
      event.preventDefault();
      attempt(problem, takeStep);
    });
  },
};
