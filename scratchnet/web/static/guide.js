// The guide: tours over the live page, and the way to lessons and exercises.

import { $, el } from "./dom.js";
import { EXERCISES, LESSONS } from "./help_links.js";
import { sampleOf } from "./samples.js";
import { chooseModel, state } from "./state.js";
import { TOURS } from "./tours.js";

/** What is pointed at must be there within these milliseconds; a slow machine traces for long. */
const PATIENCE = 60_000;
const AIR = 6;

const section = $("#page-guide");
const panel = $("#tour");
const ring = $("#tour-ring");
let tools = null; // {takeSample, stand}
let tour = null;
let step = 0;
let going = 0; // counts moves: one that was overtaken stops

// ---- a tour ---------------------------------------------------------------------------------------

async function begin(name) {
  tour = TOURS.find((one) => one.name === name);
  if (!tour) return;
  forgetOffer();
  const { model } = state;
  const shipped = state.models.find(({ source }) => source === "shipped");
  if (model !== shipped.name) await chooseModel(shipped.name);
  await tools.takeSample(sampleOf(tour.sample.label, tour.sample.isHard));
  await move(0);
}

async function move(to) {
  step = to;
  const mine = ++going;
  const now = tour.steps[step];
  write(now);
  ring.hidden = true;
  if (location.hash !== `#${now.at}`) location.hash = `#${now.at}`;
  const target = await appeared(now.target, mine, now);
  if (!target || mine !== going) return;
  target.scrollIntoView({ block: innerWidth < 760 ? "start" : "center", behavior: "instant" });
  if (innerWidth < 760) scrollBy({ top: -8, behavior: "instant" });
  uncover(target);
  ring.hidden = false;
  follow(target, mine);
  panel.dataset.ready = step;
}

/** The step's target, when it is there and to be seen; what is to be pressed is pressed before. */
async function appeared(selector, mine, { stand, press }) {
  const start = performance.now();
  let isStanding = !stand;
  let isPressed = !press;
  while (performance.now() - start < PATIENCE && mine === going && tour) {
    const button = !isPressed && $(press);
    if (button && isSeen(button)) {
      button.click();
      isPressed = true;
    }
    if (!isStanding) isStanding = tools.stand(stand);
    const target = $(selector);
    if (isStanding && isPressed && target && isSeen(target)) return target;
    await new Promise((done) => setTimeout(done, 60));
  }
  return null;
}

/** Scroll what the panel covers above it, as far as there is room. */
function uncover(target) {
  const [box, over] = [target.getBoundingClientRect(), panel.getBoundingClientRect()];
  if (box.right < over.left) return;
  const by = Math.min(box.bottom + 2 * AIR - over.top, box.top - 2 * AIR);
  if (by > 0) scrollBy({ top: by, behavior: "instant" });
}

const isSeen = (node) => node.getClientRects().length > 0 && node.textContent.length + node.clientHeight > 0;

/** The ring stays around its target however the page moves. */
function follow(target, mine) {
  if (mine !== going || !tour) return;
  const { left, top, width, height } = target.getBoundingClientRect();
  ring.hidden = !target.isConnected || !width;
  Object.assign(ring.style, {
    left: `${Math.max(2, left - AIR)}px`, top: `${top - AIR}px`,
    width: `${Math.min(width + 2 * AIR, innerWidth - 4)}px`, height: `${height + 2 * AIR}px`,
  });
  if (!target.isConnected) return void appeared(tour.steps[step].target, mine, {}).then((again) => again && follow(again, mine));
  requestAnimationFrame(() => follow(target, mine));
}

function write(now) {
  delete panel.dataset.ready;
  panel.hidden = false;
  document.body.classList.add("guided");
  const isLast = step === tour.steps.length - 1;
  const title = el("h2", { tabindex: -1, id: "tour-title" }, `${tour.title} `, el("small", {}, `${step + 1} of ${tour.steps.length}`));
  const next = el("button", { type: "button", class: "primary", onclick: () => (isLast ? end() : move(step + 1)) }, isLast ? "Done" : "Next");
  panel.replaceChildren(
    el("button", { type: "button", class: "close", "aria-label": "End the tour", onclick: end }, "×"),
    title, el("p", {}, now.text), now.ask ? question(now) : "",
    el(
      "div", { class: "row" },
      el("button", { type: "button", disabled: step === 0, onclick: () => move(step - 1) }, "Back"), next,
      el("progress", { max: tour.steps.length, value: step + 1, "aria-label": "Progress of the tour" }),
    ),
  );
  title.focus({ preventScroll: true });
}

/** The answer comes after a choice. */
function question({ ask, options, right, answer }) {
  const said = el("p", { class: "answer", "aria-live": "polite" });
  const buttons = options.map((text, k) =>
    el("button", {
      type: "button",
      onclick: () => {
        buttons.forEach((button, i) => button.classList.toggle("right", i === right));
        buttons.forEach((button, i) => button.classList.toggle("wrong", i === k && k !== right));
        said.replaceChildren(el("b", {}, k === right ? "Yes. " : "Not quite. "), answer);
      },
    }, text),
  );
  return el("div", { class: "question" }, el("p", {}, el("b", {}, ask)), el("div", { class: "row" }, ...buttons), said);
}

function end() {
  const done = tour;
  tour = null;
  going++;
  panel.hidden = ring.hidden = true;
  document.body.classList.remove("guided");
  if (done) location.hash = "#guide";
}

// ---- the offer ------------------------------------------------------------------------------------

function forgetOffer() {
  localStorage.setItem("toured", "yes");
  $("#first-tour").hidden = true;
}

// ---- the page -------------------------------------------------------------------------------------

const row = (name, title, place, extra) =>
  el("li", {}, el("b", {}, title), " ", el("code", {}, name), ` ${extra} `, el("a", { href: `#${place}`, "aria-label": `${title} on the page` }, "On the page"));

export const guide = {
  section,
  show(name) {
    if (name && tour?.name !== name) begin(name);
  },
  start() {
    const cards = TOURS.map(({ name, title, about, minutes, steps }) =>
      el(
        "article", { class: "card" }, el("h2", {}, title), el("p", {}, about),
        el("p", { class: "hint" }, `${steps.length} steps, about ${minutes} minutes`),
        el("button", { type: "button", class: "primary", "data-tour": name, "aria-label": `Start: ${title}`, onclick: () => begin(name) }, "Start"),
      ),
    );
    $("#tours").replaceChildren(...cards);
    $("#lessons").replaceChildren(...LESSONS.map(([name, title, place], k) => row(`${name}.ipynb`, `${k + 1} · ${title}`, place, "")));
    $("#exercises").replaceChildren(...EXERCISES.map(([name, title, place]) => row(name, title, place, "")));
    $("#first-tour").hidden = localStorage.getItem("toured") !== null;
    $("#first-tour-start").addEventListener("click", () => begin("pixel"));
    $("#first-tour-later").addEventListener("click", forgetOffer);
    addEventListener("keydown", (event) => {
      if (event.key === "Escape" && tour && $("#tip").hidden) end();
    });
  },
};

/** What the tours need of other sections: take a sample, make the landscape stand in some way. */
export const equip = (given) => (tools = given);
