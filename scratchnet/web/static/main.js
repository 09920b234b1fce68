// The page: which section is shown, and what they share above them.

import { get } from "./api.js";
import { backward } from "./backward.js";
import { $, attempt, el, fill, percent } from "./dom.js";
import { draw, takeSample } from "./draw.js";
import { explain } from "./explain.js";
import { forward } from "./forward.js";
import { paintDigit } from "./maps.js";
import { offer } from "./samples.js";
import { sequence } from "./sequence.js";
import { chooseModel, loadModels, model, state, update } from "./state.js";
import { train } from "./train.js";
import { whatIf } from "./what_if.js";

const views = { draw, forward, backward, explain, "what-if": whatIf, train, sequence };
const problem = $("#problem");
const tab = (name) => $(`#tabs a[href="#${name}"]`);
let current = null;

/** The address after #: a section, and after a slash what of it. */
const address = () => location.hash.slice(1).split("/");

function route() {
  const [name] = address();
  const known = name in views && !tab(name).hidden ? name : "draw";
  const isNew = current !== known;
  current = known;
  show();
  if (!isNew) return;
  tab(current).scrollIntoView({ block: "nearest", inline: "nearest" });
  scrollTo(0, 0);
}

function show() {
  const view = views[current];
  const isMissing = Boolean(view.needsDigit) && !state.pixels;
  for (const [name, { section }] of Object.entries(views)) {
    section.hidden = name !== current || isMissing;
    if (name === current) tab(name).setAttribute("aria-current", "page");
    else tab(name).removeAttribute("aria-current");
  }
  document.title = `${tab(current).textContent} – scratchnet`;
  showSubject(Boolean(view.needsDigit));
  if (!isMissing) view.show(address()[1]);
}

/** The strip with the digit, above the sections that look at one. */
function showSubject(isWanted) {
  $("#subject").hidden = !isWanted;
  $("#subject-known").hidden = !state.pixels;
  $("#subject-empty").hidden = Boolean(state.pixels);
  if (!state.pixels) return;
  const { reading, label } = state;
  paintDigit($("#subject-picture"), state.pixels);
  $("#subject-read").replaceChildren(
    "Read as ", el("b", {}, reading.class), `, ${percent(reading.confidence)}`,
  );
  const classes = model().classes.map((name, k) => [k, name]);
  fill($("#label"), [["", `as read: ${reading.class}`], ...classes], label ?? "");
}

function showModels() {
  fill($("#model"), state.models.map(({ name, title }) => [name, title]), state.model);
}

async function start() {
  const [choices, api] = await Promise.all([get("/api/architectures"), get("/openapi.json"), loadModels()]);
  tab("sequence").hidden = !("/api/sequence" in api.paths);
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
  $("#model").addEventListener("change", (event) => attempt(problem, () => chooseModel(event.target.value)));
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
