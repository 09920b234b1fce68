// What all sections look at together: the model, the digit, the label. Every change is an event.

import { get, post } from "./api.js";

const DEFAULT = "mnist-cnn";

export const state = Object.assign(new EventTarget(), {
  models: [],
  model: DEFAULT,
  pixels: null, // 28 rows of 28, in MNIST's form
  reading: null, // what predict says of them: {digit, class, confidence, probabilities}
  label: null, // null: what is read
});

export function update(changes) {
  Object.assign(state, changes);
  state.dispatchEvent(new Event("change"));
}

export const model = () => state.models.find((entry) => entry.name === state.model);

export async function loadModels() {
  const models = await get("/api/models");
  const known = models.some((entry) => entry.name === state.model);
  update({ models, model: known ? state.model : models[0].name });
}

/** The digit in an answer of predict, to be looked at in all sections. */
export function look(answer, label = null) {
  update({ pixels: answer.pixels, reading: answer.pixels && answer, label });
}

/** Another model reads the same digit. */
export async function chooseModel(name) {
  update({ model: name });
  if (!state.pixels) return;
  const { pixels } = state;
  const answer = await post("/api/predict", { pixels, prepared: true, model: name });
  if (state.pixels === pixels && state.model === name) update({ reading: answer });
}

let traced = { key: null, answer: null };

/** The trace of the digit; asked for once, however many sections want it. */
export function trace() {
  const { pixels, label, model } = state;
  const key = JSON.stringify([pixels, label, model]);
  if (traced.key !== key) {
    const mine = { key, answer: post("/api/trace", { pixels, label, model }) };
    mine.answer.catch(() => traced === mine && (traced = { key: null, answer: null }));
    traced = mine;
  }
  return traced.answer;
}

/** The input of a layer of a trace: another's output, or the image. */
export function inputOf(answer, layer) {
  if (layer?.input) return answer.layers.find((one) => one.name === layer.input).output;
  return answer.x;
}
