// The page: which section is shown, and what they share above them.

import { get } from "./api.js";
import { backward } from "./backward.js";
import { $, attempt, el, fill, percent } from "./dom.js";
import { draw, takeSample } from "./draw.js";
import { explain } from "./explain.js";
import { forward } from "./forward.js";
import { glossary } from "./glossary.js";
import { equip, guide } from "./guide.js";
import { paintDigit } from "./maps.js";
import { network } from "./network.js";
import { offer } from "./samples.js";
import { sequence } from "./sequence.js";
import { chooseModel, guess, loadModels, model, state, untrainedName, update } from "./state.js";
import { train } from "./train.js";
import { whatIf } from "./what_if.js";

const views = { draw, network, forward, backward, explain, "what-if": whatIf, train, sequence, guide, glossary };
const problem = $("#problem");
/** A section's tab; some have none. */
const tab = (name) => $(`#tabs a[href="#${name}"]`);
let current = null;

/** The address after #: a section, and after slashes what of it. "model=resnet" is no part of that. */
const MODEL = "model=";
const address = () => location.hash.slice(1).split("/").filter((part) => !part.startsWith(MODEL));

/** The model that the address asks for: one by its name, or an architecture that is not trained yet. */
function askedModel() {
  const part = location.hash.slice(1).split("/").find((one) => one.startsWith(MODEL));
  if (!part) return null;
  const name = decodeURIComponent(part.slice(MODEL.length));
  return state.models.some((entry) => entry.name === name) ? name : untrainedName(name);
}

function route() {
  const [name] = address();
  const known = name in views && !tab(name)?.hidden ? name : "draw";
  const isNew = current !== known;
  current = known;
  const asked = askedModel();
  if (asked && asked !== state.model) attempt(problem, () => chooseModel(asked));
  show();
  if (!isNew) return;
  scrollTo(0, 0);
}

function show() {
  const view = views[current];
  const isMissing = Boolean(view.needsDigit) && !state.pixels;
  for (const [name, { section }] of Object.entries(views)) {
    section.hidden = name !== current || isMissing;
    if (name === current) tab(name)?.setAttribute("aria-current", "page");
    else tab(name)?.removeAttribute("aria-current");
  }
  document.title = `${tab(current)?.textContent ?? $("h1", view.section).textContent} – scratchnet`;
  $("#empty-title").textContent = $("h1", view.section).textContent;
  showSubject(Boolean(view.needsDigit));
  if (!isMissing) view.show(...address().slice(1));
}

/** The strip with the digit, above the sections that look at one. */
function showSubject(isWanted) {
  $("#subject").hidden = !isWanted;
  $("#subject-known").hidden = !state.pixels;
  $("#subject-empty").hidden = Boolean(state.pixels);
  if (!state.pixels) return;
  const { reading, label } = state;
  paintDigit($("#subject-picture"), state.pixels);
  const { name, share } = guess(reading);
  $("#subject-read").replaceChildren(
    reading.reason ? "No digit to name; the network would say " : "Read as ", el("b", {}, name), `, ${percent(share)}`,
  );
  const classes = model().classes.map((one, k) => [k, one]);
  fill($("#label"), [["", `as read: ${name}`], ...classes], label ?? "");
}

let untrained = []; // architectures

function showModels() {
  const select = $("#model");
  const there = state.models.filter(({ source }) => source !== "untrained");
  fill(select, there.map(({ name, title }) => [name, title]), state.model);
  const rest = el("optgroup", { label: "Untrained" });
  fill(rest, untrained.map((name) => [untrainedName(name), name]), state.model);
  select.append(rest);
}

async function start() {
  const [choices, api] = await Promise.all([get("/api/architectures"), get("/openapi.json"), loadModels()]);
  equip({ takeSample, stand: network.stand });
  tab("sequence").hidden = !("/api/sequence" in api.paths);
  untrained = choices.architectures.map(({ name }) => name);
  showModels();
  await Promise.all([
    offer(takeSample),
    ...Object.values(views).map((view) => view.start(choices)),
  ]);

  let models = state.models;
  state.addEventListener("change", () => {
    if (models !== state.models || $("#model").value !== state.model) showModels();
    models = state.models;
    show();
  });
  $("#model").addEventListener("change", (event) => attempt(problem, () => chooseModel(event.target.value)).then(showModels));
  $("#label").addEventListener("change", ({ target }) =>
    update({ label: target.value === "" ? null : Number(target.value) }),
  );
  $("#theme").addEventListener("click", () => window.toggleTheme());
  document.addEventListener("themechange", () => show());
  let width = innerWidth;
  addEventListener("resize", () => {
    if (width !== innerWidth) show();
    width = innerWidth;
  });
  document.addEventListener("dragover", (event) => event.preventDefault());
  document.addEventListener("drop", (event) => event.preventDefault()); // else the browser opens it
  addEventListener("hashchange", route);
  route();
}

attempt(problem, start);
