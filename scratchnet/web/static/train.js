// The section Train: a run is started, watched as it goes, paused, stopped, and its network used.

import { command, get, parse, post } from "./api.js";
import { Chart } from "./chart.js";
import { $, attempt, count, fill, percent } from "./dom.js";
import { maps } from "./maps.js";
import { chooseModel, loadModels } from "./state.js";

const ENDED = ["done", "stopped", "failed"];
/** What a card's padding and border take of its width. */
const CARD = 44;
const WORDS = { running: "Training", paused: "Paused", done: "Done", stopped: "Stopped", failed: "Failed" };

const section = $("#page-train");
const form = $("#train-form");
const problem = $(".problem", form);
const [startButton, pauseButton, stopButton] = ["start", "pause", "stop"].map((name) => $(`#train-${name}`));
let charts = null;
let run = null; // the newest state
let stream = null;
let filters = null; // the newest event of that name, and of progress:
let last = null;

function follow(state) {
  stream?.close();
  last = null;
  charts.forEach((chart) => chart.clear(1));
  showState(state);
  for (const [epoch] of (state.history.loss ?? []).entries()) addEpoch(epoch, at(state.history, epoch));
  stream = new EventSource(`/api/runs/${state.id}/events`);
  const on = (name, act) => stream.addEventListener(name, ({ data }) => act(parse(data)));
  on("state", async (now) => {
    showState(now);
    if (!ENDED.includes(now.state)) return;
    stream.close();
    await attempt(problem, loadModels);
  });
  on("progress", showProgress);
  on("epoch", ({ epoch, ...means }) => addEpoch(epoch, means));
  on("filters", showFilters);
}

const at = (history, epoch) =>
  Object.fromEntries(Object.entries(history).map(([name, values]) => [name, values[epoch]]));

function showState(state) {
  run = state;
  const { settings, batches } = state;
  const isOver = ENDED.includes(state.state);
  if (batches) charts.forEach((chart) => (chart.end = batches * settings.epochs));
  const validated = state.history.val_accuracy?.at(-1);
  const reached = validated == null ? "" : `, ${percent(validated)} right on images held out`;
  $("#train-state").textContent = state.error
    ? `Failed: ${state.error}`
    : `${WORDS[state.state]}: ${settings.architecture} with ${settings.optimizer}${reached}`;
  startButton.disabled = !isOver;
  pauseButton.disabled = stopButton.disabled = isOver;
  pauseButton.textContent = state.state === "paused" ? "Resume" : "Pause";
  $("#train-use").hidden = state.model === null;
  showShare(state);
}

function showShare({ epoch, batch, batches }) {
  const { epochs } = run.settings;
  $("#train-progress").value = batches ? (epoch * batches + batch) / (epochs * batches) : 0;
  const where = batches ? `Epoch ${epoch + 1} of ${epochs}, batch ${count(batch)} of ${count(batches)}` : "Getting ready";
  $("#train-detail").textContent = where;
}

function showProgress(news) {
  const [loss, accuracy, norms] = charts;
  const x = news.epoch * news.batches + news.batch;
  run.batches = news.batches;
  charts.forEach((chart) => (chart.end = news.batches * run.settings.epochs));
  loss.add("training", x, sinceLast(news, "loss"));
  accuracy.add("training", x, sinceLast(news, "accuracy"));
  last = news;
  for (const [layer, norm] of Object.entries(news.gradient_norms)) norms.add(layer, x, norm);
  showShare(news);
  $("#train-detail").textContent += ` · ${count(Math.round(news.images_per_second))} images/s`;
}

/** The mean over the batches since the last event; the events have those since the epoch began. */
function sinceLast(news, name) {
  const before = last?.epoch === news.epoch ? last : { batch: 0, [name]: 0 };
  const sum = news[name] * news.batch - before[name] * before.batch;
  return news.batch > before.batch ? sum / (news.batch - before.batch) : null;
}

function addEpoch(epoch, means) {
  const [loss, accuracy] = charts;
  const x = (epoch + 1) * run.batches;
  loss.add("validation", x, means.val_loss);
  accuracy.add("validation", x, means.val_accuracy);
}

function showFilters(news) {
  filters = news;
  const { layer, value } = news;
  const [, , channels, number] = value.shape;
  const title = `Filters of ${layer}: ${number} of ${value.shape.slice(0, 2).join(" × ")}${channels > 1 ? ` × ${channels}` : ""}`;
  const figure = $("#train-filters");
  figure.replaceChildren(maps(value, { title, most: 16, height: 210, room: figure.clientWidth - CARD, signed: true }));
}

function settings() {
  const numbers = ["learning_rate", "batch_size", "epochs", "images", "seed"];
  const entries = [...new FormData(form)].map(([name, text]) => [
    name,
    numbers.includes(name) ? Number(text) : text,
  ]);
  return Object.fromEntries(entries);
}

export const train = {
  section,
  show() {
    charts.forEach((chart) => chart.draw());
    if (filters) showFilters(filters);
  },
  async start({ architectures, optimizers, learning_rates, defaults }) {
    const names = ["training", "validation"];
    charts = [
      new Chart($("#chart-loss"), "Loss", { names }),
      new Chart($("#chart-accuracy"), "Accuracy", { high: 1, names }),
      new Chart($("#chart-norms"), "Gradient of each layer, root mean square", { log: true }),
    ];
    const { architecture, optimizer } = form.elements;
    const sizes = architectures.map(({ name, parameters }) => [name, `${name}, ${count(parameters)} parameters`]);
    fill(architecture, sizes, defaults.architecture);
    fill(optimizer, optimizers, defaults.optimizer);
    for (const [name, value] of Object.entries(defaults)) form.elements[name].value = value;
    const rate = form.elements.learning_rate;
    let usual = rate.value; // a rate that was typed stays
    optimizer.addEventListener("change", () => {
      if (rate.value === usual) rate.value = learning_rates[optimizer.value];
      usual = String(learning_rates[optimizer.value]);
    });

    form.addEventListener("submit", (event) => {
      event.preventDefault();
      attempt(problem, async () => {
        follow(await post("/api/runs", settings()));
        $("#train-state").scrollIntoView({ block: "nearest" });
      });
    });
    const ask = (what) => attempt(problem, () => command(`/api/runs/${run.id}/${what}`));
    pauseButton.addEventListener("click", () => ask(run.state === "paused" ? "resume" : "pause"));
    stopButton.addEventListener("click", () => ask("stop"));
    $("#train-use").addEventListener("click", () =>
      attempt(problem, async () => {
        await loadModels();
        await chooseModel(run.model);
        location.hash = "#draw";
      }),
    );

    const runs = await get("/api/runs");
    if (runs.length) follow(runs.at(-1));
  },
};
