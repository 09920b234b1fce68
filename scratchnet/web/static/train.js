// The section Train: a run is started, watched as it goes, paused, stopped, and its network used.

import { command, get, parse, post } from "./api.js";
import { Chart } from "./chart.js";
import { compareCard } from "./compare.js";
import { $, attempt, count, el, fill, percent } from "./dom.js";
import { digitCard } from "./learning.js";
import { maps } from "./maps.js";
import { chooseModel, loadModels, state as subject } from "./state.js";

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
let compare = null;
let digit = null;
let watched = null; // the digit that the server was told of
let filters = null; // the newest event of that name, and of progress:
let last = null;

const path = (id) => `/api/runs/${encodeURIComponent(id)}`;

function follow(state) {
  stream?.close();
  last = watched = null;
  digit.clear();
  charts.forEach((chart) => chart.clear(1));
  showState(state);
  for (const [epoch] of (state.history.loss ?? []).entries()) addEpoch(epoch, at(state.history, epoch), true);
  compare.update();
  watchDigit();
  stream = new EventSource(`${path(state.id)}/events`);
  const on = (name, act) => stream.addEventListener(name, ({ data }) => act(parse(data)));
  on("state", async (now) => {
    showState(now);
    if (!ENDED.includes(now.state)) return;
    stream.close();
    await attempt(problem, loadModels);
    compare.update();
  });
  on("progress", showProgress);
  on("epoch", ({ epoch, ...means }) => {
    addEpoch(epoch, means);
    compare.update();
  });
  on("digit", (news) => digit.show(news));
  on("filters", showFilters);
}

/** Tell the server which digit is looked at, once for each. */
function watchDigit() {
  if (!run || ENDED.includes(run.state) || watched === subject.pixels) return;
  watched = subject.pixels;
  digit.follow(run.id);
}

const at = (history, epoch) =>
  Object.fromEntries(Object.entries(history).map(([name, values]) => [name, values[epoch]]));

function showState(state) {
  run = state;
  const { settings, batches } = state;
  const isOver = ENDED.includes(state.state);
  const epochs = settings?.epochs ?? (state.history.loss ?? []).length;
  charts.forEach((chart) => Object.assign(chart, { end: Math.max(1, (batches || 1) * epochs), unit: batches || !isOver ? "batches" : "epochs" }));
  const validated = state.history.val_accuracy?.at(-1);
  const reached = validated == null ? "" : `, ${percent(validated)} right on images held out`;
  $("#train-state").textContent = state.error
    ? `Failed: ${state.error}`
    : `${WORDS[state.state]}: ${state.about}${reached}`;
  startButton.disabled = !isOver;
  pauseButton.disabled = stopButton.disabled = isOver;
  pauseButton.textContent = state.state === "paused" ? "Resume" : "Pause";
  $("#train-use").hidden = state.model === null;
  digit.ended(isOver);
  if (!filters) $("#train-filters .hint").textContent = isOver ? "They are shown while a network learns." : "They appear with the first batches.";
  showKept(state);
  showShare(state);
}

/** Where it is kept, what it is called, and how to take it away. */
function showKept({ id, title, model, saved, note }) {
  const box = $("#train-kept");
  box.hidden = model === null;
  if (model === null || box.contains(document.activeElement)) return;
  const name = el("input", { value: title, maxlength: 200, required: true, "aria-label": "Name of the run" });
  const form = el("form", { class: "row fields" }, name, el("button", {}, "Rename"));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    document.activeElement.blur();
    attempt(problem, async () => {
      showState(await post(`${path(id)}/title`, { title: name.value }));
      await loadModels();
      await compare.update();
    });
  });
  const link = (what, text) => el("a", { class: "button", href: `${path(id)}/${what}`, download: "" }, text);
  const where = saved ? `Kept in ${saved}.` : "It ends with the server: take it away, or start the server with --runs FOLDER.";
  box.replaceChildren(form, el("div", { class: "row" }, link("model", "Model file"), link("folder", "Run folder, zipped")), el("p", { class: "hint" }, note ?? where));
}

function showShare({ epoch, batch, batches }) {
  if (!run.settings) {
    $("#train-progress").value = 1;
    $("#train-detail").textContent = "Trained by the command";
    return;
  }
  const { epochs } = run.settings;
  const isLoaded = ENDED.includes(run.state) && !batches;
  $("#train-progress").value = isLoaded ? 1 : batches ? (epoch * batches + batch) / (epochs * batches) : 0;
  const where = isLoaded ? `${count(epoch)} epochs` : batches ? `Epoch ${epoch + 1} of ${epochs}, batch ${count(batch)} of ${count(batches)}` : "Getting ready";
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

/** withTraining: of an epoch whose batches nobody has watched. */
function addEpoch(epoch, means, withTraining = false) {
  const [loss, accuracy] = charts;
  const x = (epoch + 1) * (run.batches || 1);
  if (withTraining) {
    loss.add("training", x, means.loss);
    accuracy.add("training", x, means.accuracy);
  }
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
    numbers.includes(name) ? Number(text) : text || null,
  ]);
  return Object.fromEntries(entries);
}

export const train = {
  section,
  show() {
    charts.forEach((chart) => chart.draw());
    compare.draw();
    digit.draw();
    watchDigit();
    if (filters) showFilters(filters);
  },
  async start({ architectures, optimizers, learning_rates, recipes, defaults }) {
    const names = ["training", "validation"];
    charts = [
      new Chart($("#chart-loss"), "Loss", { names }),
      new Chart($("#chart-accuracy"), "Accuracy", { high: 1, names }),
      new Chart($("#chart-norms"), "Gradient of each layer, root mean square", { log: true }),
    ];
    compare = compareCard();
    digit = digitCard();
    $(".charts", section).append(digit.node);
    $(".charts", section).after(compare.node);
    const { architecture, optimizer, recipe } = form.elements;
    fill(recipe, [["", "none: as chosen below"], ...recipes.map(({ name }) => name)]);
    const sizes = architectures.map(({ name, parameters }) => [name, `${name}, ${count(parameters)} parameters`]);
    fill(architecture, sizes, defaults.architecture);
    fill(optimizer, optimizers, defaults.optimizer);
    for (const [name, value] of Object.entries(defaults)) form.elements[name].value = value ?? "";
    const rate = form.elements.learning_rate;
    let usual = rate.value; // a rate that was typed stays
    recipe.addEventListener("change", () => {
      const chosen = recipes.find(({ name }) => name === recipe.value);
      const { about, name: _, ...settings } = chosen ?? defaults;
      for (const name of ["architecture", "learning_rate", "batch_size", "epochs"]) form.elements[name].value = settings[name];
      usual = rate.value;
      optimizer.disabled = Boolean(chosen);
      $("#recipe-about").textContent = about ? `With ${about}.` : "";
    });
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
    const ask = (what) => attempt(problem, () => command(`${path(run.id)}/${what}`));
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
