// The section Draw: a digit is written, chosen or opened, and read at once.

import { newest, post, postFile } from "./api.js";
import { shares } from "./bars.js";
import { $, attempt, el, percent, say } from "./dom.js";
import { paintDigit } from "./maps.js";
import { Landscape } from "./landscape_view.js";
import { Pad, files } from "./pad.js";
import { sequence } from "./sequence.js";
import { guess, landscape, look, model, state } from "./state.js";

const PEN = 44;
/** A digit that is lower than so many widths of the pen has no room for its loops. */
const ROOM = 3.5;
/** At this size the server takes a drawing for a drawing, and does not look for shadows. */
const SENT = 64;

const section = $("#page-draw");
const problem = $("#draw-problem");
const pad = new Pad($("#pad"), PEN, read);
let bars = null;
let live = null; // the network below the pad
let names = null;

/** Counts the drawings: an answer that comes after its drawing is gone is not shown. */
let drawing = 0;
const inTurn = newest((work) => work());
/** A stroke has ended, and the answer to all of it has not come yet: until then no maps are drawn. */
let isAwaited = false;

function startAnew() {
  drawing++;
  isAwaited = false;
}

function read(ended) {
  if (pad.isEmpty) return showNothing();
  isAwaited = ended;
  const query = () => ({ pixels: pad.levels(SENT), model: state.model, steps: ended });
  const ask = () => post("/api/predict", query()).finally(() => ended && (isAwaited = false));
  inTurn(() => answerOf(ask, null));
}

function readPrepared({ pixels, label }) {
  startAnew();
  pad.clear(pictureOf(pixels));
  showStages(null, "This digit is in MNIST's form already: nothing has to be done to it.");
  const body = { pixels, prepared: true, model: state.model };
  return inTurn(() => answerOf(() => post("/api/predict", body), label));
}

let opened = null; // the file that was read last

function readFile(file) {
  startAnew();
  opened = file;
  const fields = { steps: true, model: state.model };
  inTurn(() => answerOf(() => postFile("/api/predict/file", file, fields), null, true));
}

async function answerOf(ask, label, isFile = false) {
  const start = performance.now();
  const mine = drawing;
  await attempt(problem, async () => {
    const answer = await ask();
    if (mine !== drawing) return;
    if (isFile && answer.pixels) pad.clear(pictureOf(answer.pixels));
    if (answer.steps) showStages(answer.steps);
    if (answer.pixels || !isFile) look(answer, label);
    if (answer.message && !answer.reason) throw new Error(answer.message);
    $("#latency").textContent = `Read in ${Math.ceil(performance.now() - start)} ms.`;
    warn();
  });
}

/** Where there is ink, but no single digit: what it is taken for, and what can be done. */
function showDoubt() {
  const box = $("#doubt");
  const { reading } = state;
  box.hidden = !reading?.reason;
  if (box.hidden) return;
  const { name, share } = guess(reading);
  const text = reading.several
    ? "These look like several digits side by side."
    : `This may not be a digit: ${reading.reason}. The network has to choose one of its ten all the same, and would say ${name} with ${percent(share)}.`;
  const asNumber = el("button", { type: "button", class: "primary", onclick: readAsNumber }, "Read them as a number");
  box.replaceChildren(el("p", {}, text), reading.several && !$('#tabs a[href="#sequence"]').hidden ? asNumber : "");
}

/** What is written goes along to the wide pad. */
function readAsNumber() {
  const { strokes, canvas } = pad;
  if (strokes.length) sequence.take(strokes, canvas);
  else if (opened) sequence.takeFile(opened);
  location.hash = "#sequence";
}

/** Where the pen is too wide for what is written with it. */
function warn() {
  const size = pad.penWidths;
  const isSmall = size !== null && size > 0.5 && size < ROOM; // less is a dot, and no digit at all
  say($("#small"), isSmall ? "This is small for such a pen: loops fill up. Write larger, or take a thinner pen." : null);
}

function pictureOf(pixels) {
  const canvas = el("canvas", { width: 28, height: 28 });
  paintDigit(canvas, pixels);
  return canvas;
}

function showNothing() {
  startAnew();
  say(problem, null);
  look({ pixels: null });
  $("#latency").textContent = "";
  warn();
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
  $("#stages").replaceChildren(...(steps ?? []).map(stage));
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
  const isDigit = Boolean(reading) && !reading.reason;
  $("#digit").textContent = isDigit ? reading.class : reading ? "?" : "–";
  $("#digit").classList.toggle("none", !isDigit);
  bars.classList.toggle("doubted", Boolean(reading) && !isDigit);
  $("#confidence").textContent = isDigit ? percent(reading.confidence) : reading ? "no digit to name" : "nothing written yet";
  showDoubt();
  showLive();
}

let lived = [];

const showLive = newest(async () => {
  $("#live").hidden = !state.pixels;
  if (!state.pixels || isAwaited) return;
  await attempt($("#live .problem"), async () => {
    const answer = await landscape();
    const now = [answer, document.documentElement.dataset.theme, innerWidth];
    if (section.hidden || !state.pixels || now.every((part, k) => part === lived[k])) return;
    live ??= new Landscape($("#live-landscape"), { height: () => 300 });
    live.over.onclick = () => (location.hash = "#network");
    lived = now;
    live.set(answer);
    performance.mark("landscape");
  });
});

/** A sample is chosen, here or in another section. */
export const takeSample = readPrepared;

/** The digit stays when the page is loaded again. */
function keep() {
  const { pixels, label } = state;
  sessionStorage.setItem("digit", JSON.stringify(pixels && { pixels, label }));
}

export const draw = {
  section,
  show: showReading,
  async start() {
    $("#undo").addEventListener("click", () => {
      pad.undo();
      read(true);
    });
    $("#clear").addEventListener("click", () => {
      pad.clear();
      showNothing();
    });
    $("#pen").addEventListener("change", ({ target }) => (pad.pen = Number(target.value)));
    files($("#file"), () => !section.hidden, readFile);
    showStages(null, $("#stages-hint").textContent);
    const kept = JSON.parse(sessionStorage.getItem("digit"));
    if (kept) await readPrepared(kept);
    state.addEventListener("change", keep);
  },
};
