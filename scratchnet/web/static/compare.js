// Several runs in one chart: how each learns, epoch by epoch.

import { get } from "./api.js";
import { Chart } from "./chart.js";
import { attempt, el, fill } from "./dom.js";

const FIGURES = [
  ["val_accuracy", "accuracy on images held out"],
  ["val_loss", "loss on images held out"],
  ["accuracy", "accuracy in training"],
  ["loss", "loss in training"],
];

/** A card; its `update()` asks for all runs and draws those that are ticked. */
export function compareCard() {
  const figure = el("figure", { class: "compare" });
  const which = el("select", {});
  fill(which, FIGURES);
  const list = el("fieldset", { class: "ticks" }, el("legend", {}, "Runs"));
  const error = el("p", { class: "problem", role: "alert", hidden: true });
  const left = new Set(); // the ids of runs that are not to be drawn
  let runs = [];
  const node = el(
    "div", { class: "card", id: "train-compare" },
    el("div", { class: "row spread" }, el("h2", {}, "Runs side by side"), el("label", { class: "hint" }, "Show ", which)),
    list, figure, error,
  );

  function draw() {
    const name = FIGURES.find(([key]) => key === which.value);
    const chosen = runs.filter(({ id }) => !left.has(id));
    const chart = new Chart(figure, `The ${name[1]}, after each epoch`, {
      high: which.value.endsWith("accuracy") ? 1 : null, unit: "epochs",
    });
    chart.end = Math.max(1, ...chosen.map(({ history }) => (history[which.value] ?? []).length));
    const titles = new Map();
    for (const { id, title, history } of chosen) {
      const others = chosen.filter((run) => run.title === title).length > 1;
      titles.set(id, others ? `${title} (${id})` : title);
      chart.line(titles.get(id));
      (history[which.value] ?? []).forEach((value, epoch) => chart.add(titles.get(id), epoch + 1, value));
    }
    chart.draw();
  }

  function ticks() {
    const boxes = runs.map(({ id, title, about }) => {
      const box = el("input", { type: "checkbox", checked: !left.has(id) });
      box.addEventListener("change", () => {
        if (box.checked) left.delete(id);
        else left.add(id);
        draw();
      });
      return el("label", { title: about }, box, ` ${title}`);
    });
    list.replaceChildren(el("legend", {}, "Runs"), ...boxes);
  }

  const update = () =>
    attempt(error, async () => {
      runs = await get("/api/runs");
      node.hidden = !runs.some(({ history }) => history.loss?.length); // there is nothing to compare
      ticks();
      draw();
    });
  which.addEventListener("change", draw);
  return { node, update, draw };
}
