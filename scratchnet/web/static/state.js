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

/** What the network would say, where a reading names no digit: {name, share}. */
export function guess({ probabilities }) {
  const best = probabilities.indexOf(Math.max(...probabilities));
  return { name: model().classes[best], share: probabilities[best] };
}

/** The architectures by name, which can be looked into before any training. */
const UNTRAINED = "untrained-";
export const untrainedName = (architecture) => UNTRAINED + architecture;

/** Another model reads the same digit. */
export async function chooseModel(name) {
  if (name.startsWith(UNTRAINED) && !state.models.some((entry) => entry.name === name)) {
    await post("/api/models", { architecture: name.slice(UNTRAINED.length) });
    await loadModels();
  }
  update({ model: name });
  if (!state.pixels) return;
  const { pixels } = state;
  const answer = await post("/api/predict", { pixels, prepared: true, model: name });
  if (state.pixels !== pixels || state.model !== name) return;
  const { reason, several } = state.reading ?? {}; // of the ink, whatever the model
  update({ reading: reason ? { ...answer, digit: null, class: null, reason, several } : answer });
}

/** An answer on the digit; asked for once, however many sections want it. */
function remembered(path) {
  let last = { key: null, answer: null };
  return () => {
    const { pixels, label, model } = state;
    const key = JSON.stringify([pixels, label, model]);
    if (last.key !== key) {
      const mine = { key, answer: post(path, { pixels, label, model }) };
      mine.answer.catch(() => last === mine && (last = { key: null, answer: null }));
      last = mine;
    }
    return last.answer;
  };
}

/** The trace of the digit: every array, and the parameters. */
export const trace = remembered("/api/trace");
/** What the landscape draws of it. */
export const landscape = remembered("/api/landscape");

/** The input of a layer of a trace: another's output, or the image. */
export function inputOf(answer, layer) {
  if (layer?.input) return answer.layers.find((one) => one.name === layer.input).output;
  return answer.x;
}
