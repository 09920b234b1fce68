// The section Draw: a digit is written, chosen or opened, and read at once.

import { newest, post, postFile } from "./api.js";
import { shares } from "./bars.js";
import { $, attempt, el, percent, say } from "./dom.js";
import { paintDigit } from "./maps.js";
import { Pad, files } from "./pad.js";
import { look, model, state } from "./state.js";

const PEN = 44;
/** At this size the server takes a drawing for a drawing, and does not look for shadows. */
const SENT = 64;
const STAGES = 9;

const section = $("#page-draw");
const problem = $("#draw-problem");
const pad = new Pad($("#pad"), PEN, (ended) => read(ended));
let bars = null;
let names = null;

/** What is on the pad goes to the server; `steps`: pictures of the stages as well. */
const read = newest(async (steps) => {
  if (pad.isEmpty) return showNothing();
  const query = { pixels: pad.levels(SENT), steps, model: state.model };
  await answerOf(() => post("/api/predict", query), null);
});

const readPrepared = newest(async ({ pixels, label }) => {
  const query = { pixels, prepared: true, model: state.model };
  await answerOf(() => post("/api/predict", query), label);
  showStages(null, "A sample is in MNIST's form already: nothing has to be done to it.");
});

const readFile = newest(async (file) => {
  const fields = { steps: true, model: state.model };
  await answerOf(async () => {
    const answer = await postFile("/api/predict/file", file, fields);
    if (answer.pixels) pad.clear(pictureOf(answer.pixels));
    return answer;
  }, null);
});

async function answerOf(ask, label) {
  const start = performance.now();
  await attempt(problem, async () => {
    const answer = await ask();
    look(answer, label);
    if (answer.steps) showStages(answer.steps);
    if (!answer.pixels) throw new Error(answer.message);
    $("#latency").textContent = `Read in ${Math.ceil(performance.now() - start)} ms.`;
  });
}

function pictureOf(pixels) {
  const canvas = el("canvas", { width: 28, height: 28 });
  paintDigit(canvas, pixels);
  return canvas;
}

function showNothing() {
  say(problem, null);
  look({ pixels: null });
  $("#latency").textContent = "";
  showStages(null, "The stages that bring a drawing into MNIST's form appear here.");
}

function showStages(steps, hint = null) {
  say($("#stages-hint"), hint);
  const stage = ({ name, caption, png }, k) =>
    el(
      "li", {},
      el("span", { class: "thumb" }, el("img", { src: png, alt: "" })),
      el("b", {}, `${k + 1}. ${name}`),
      el("span", { class: "hint" }, caption),
    );
  const blank = () => el("li", { class: "blank", "aria-hidden": "true" }, el("span", { class: "thumb" }));
  const items = steps ? steps.map(stage) : Array.from({ length: STAGES }, blank);
  $("#stages").replaceChildren(...items);
}

function showReading() {
  const classes = model().classes;
  if (names !== classes) {
    names = classes;
    bars = shares(names);
    $("#bars").replaceChildren(bars);
  }
  const { reading } = state;
  bars.set(reading?.probabilities);
  $("#digit").textContent = reading?.class ?? "–";
  $("#digit").classList.toggle("none", !reading);
  $("#confidence").textContent = reading ? percent(reading.confidence) : "nothing written yet";
}

/** A sample is chosen, here or in another section. */
export function takeSample(sample) {
  pad.clear(pictureOf(sample.pixels));
  return readPrepared(sample);
}

export const draw = {
  section,
  show: showReading,
  start() {
    $("#undo").addEventListener("click", () => {
      pad.undo();
      read(true);
    });
    $("#clear").addEventListener("click", () => {
      pad.clear();
      showNothing();
    });
    files($("#file"), () => !section.hidden, readFile);
    showStages(null, $("#stages-hint").textContent);
  },
};
