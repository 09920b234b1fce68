// Digits of MNIST's test set (LeCun, Cortes and Burges, CC BY-SA 3.0), side by side in one picture.

import { el } from "./dom.js";
import { paintDigit } from "./maps.js";

const SIDE = 28;
const LABELS = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9];
const HARD = [2, 2, 4, 5, 8];

/** All samples: [{label, pixels: 28 rows of 28}], the hard ones last. */
async function load() {
  const picture = new Image();
  picture.src = "/static/samples.png";
  await picture.decode();
  const canvas = new OffscreenCanvas(picture.width, SIDE);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(picture, 0, 0);
  return [...LABELS, ...HARD].map((label, k) => {
    const { data } = context.getImageData(k * SIDE, 0, SIDE, SIDE);
    const row = (i) => Array.from({ length: SIDE }, (_, j) => data[4 * (i * SIDE + j)]);
    return { label, pixels: Array.from({ length: SIDE }, (_, i) => row(i)) };
  });
}

let samples = [];
let take = null;

function button(sample, kind) {
  const canvas = el("canvas", { width: SIDE, height: SIDE });
  paintDigit(canvas, sample.pixels);
  const name = `${kind} ${sample.label}`;
  return el("button", { type: "button", "aria-label": name, title: name, onclick: () => take(sample) }, canvas);
}

const easy = () => samples.slice(0, LABELS.length).map((sample) => button(sample, "Sample"));
const hard = () => samples.slice(LABELS.length).map((sample) => button(sample, "Hard sample"));

/** The hard digits as buttons in a box that was made later. */
export const offerHard = (box) => box.replaceChildren(...hard());

/** A sample by its label, and whether it is a hard one. */
export const sampleOf = (label, isHard = false) =>
  samples.find((sample, k) => sample.label === label && isHard === k >= LABELS.length);

/** Fill every place made for samples with buttons; `chosen(sample)` is called with the chosen one. */
export async function offer(chosen) {
  take = chosen;
  samples = await load();
  for (const box of document.querySelectorAll("[data-samples]")) box.replaceChildren(...easy());
  for (const box of document.querySelectorAll("[data-hard]")) offerHard(box);
}
