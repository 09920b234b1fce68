// Fool it: the image follows its gradient, step by step, until it is read as another class.

import { post } from "./api.js";
import { Chart } from "./chart.js";
import { attempt, el, fill, number, percent } from "./dom.js";
import { maps } from "./maps.js";
import { look, model, state } from "./state.js";

const LOOK = { room: 260, height: 230, most: 8 };

/** The card with its form; what was found is shown in it. */
export function foolCard() {
  const { classes } = model();
  const target = el("select", { name: "target" });
  const read = state.reading?.digit;
  fill(target, classes.map((name, k) => [k, name]), (read + 1) % classes.length);
  const error = el("p", { class: "problem", role: "alert", hidden: true });
  const result = el("div", { class: "result", "aria-live": "polite" });
  const form = el("form", { class: "row fields" }, el("label", {}, "Make it read as ", target), el("button", { class: "primary" }, "Fool it"));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    attempt(error, async () => {
      const { pixels, model: name } = state;
      const answer = await post("/api/fool", { pixels, model: name, target: Number(target.value) });
      result.replaceChildren();
      show(result, answer, pixels, classes);
    });
  });
  return el(
    "div", { class: "card", id: "fool" },
    el("h2", {}, "Fool it"),
    el("p", { class: "hint" }, "The weights stay as they are. The image goes down the slope of the loss, by its own pixels, until the network takes it for another class: an adversarial example."),
    form, error, result,
  );
}

function show(result, answer, pixels, classes) {
  const { target, steps, length, succeeded, path, digit, perturbation } = answer;
  const levels = (rows) => ({ shape: [28, 28, 1], data: Float32Array.from(rows.flat(), (level) => level / 255) });
  const [first, last] = [path[0], path.at(-1)];
  const was = first.indexOf(Math.max(...first));
  const text = succeeded
    ? `After ${steps} steps it is read as ${classes[target]}, ${percent(last[target])}. What was added has the length ${number(length, 3)}.`
    : `After ${steps} steps it is still read as ${classes[digit]}, ${percent(last[digit])}.`;
  const chart = el("figure", { class: "path" });
  const use = el("button", { type: "button" }, "Look at this image");
  use.addEventListener("click", () =>
    attempt(result.parentElement.querySelector(".problem"), async () => {
      const found = await post("/api/predict", { pixels: answer.pixels, prepared: true, model: state.model });
      look(found, state.label ?? was);
    }),
  );
  result.append(
    el("p", {}, steps ? text : `It is read as ${classes[target]} already.`),
    el(
      "div", { class: "through" },
      maps(levels(pixels), { ...LOOK, title: `Read as ${classes[was]}`, limit: 1 }),
      maps(perturbation, { ...LOOK, title: "What was added", signed: true }),
      maps(levels(answer.pixels), { ...LOOK, title: `Read as ${classes[digit]}`, limit: 1 }),
      chart,
    ),
    el("div", { class: "row" }, use),
  );
  if (!steps) return;
  const names = [was, target].map((k) => `probability of ${classes[k]}`);
  const lines = new Chart(chart, "Step by step", { high: 1, names, unit: "steps" });
  lines.end = steps;
  path.forEach((row, k) => [was, target].forEach((c, line) => lines.add(names[line], k, row[c])));
}
