// The section Network: the landscape, moved through in time, asked about, and left for the cards.

import { newest, post } from "./api.js";
import { $, attempt, el, number, place, signed } from "./dom.js";
import { dustNotice, isDust } from "./dust.js";
import { indexAt, ownIndex, strongest } from "./landscape_data.js";
import { reachedBy, receptive, single } from "./landscape_reach.js";
import { backAt, end, forwardEnd, moment } from "./landscape_time.js";
import { loupe } from "./loupe.js";
import { Landscape, dotted, fromDotted } from "./landscape_view.js";
import { landscape, model, state } from "./state.js";
import { waterfall } from "./waterfall.js";

/** Milliseconds for a unit of time: while a window slides, and where nothing does. */
const [SLIDING, PLAIN, STEP] = [2600, 900, 1100];
/** A pointer that rests so long asks for the sum. */
const REST = 350;

const section = $("#page-network");
const problem = $(".problem", section);
const stage = $("#landscape");
const scrubber = $("#network-time");
const still = matchMedia("(prefers-reduced-motion: reduce)");
/** What stands above and below the maps is to be seen beside them, where the window allows it. */
const [AROUND, LOWEST, HIGHEST] = [520, 330, 460];
const view = new Landscape(stage, {
  height: () => Math.min(HIGHEST, Math.max(LOWEST, innerHeight - AROUND)),
  addressOf: (node) => (node.number ? `#forward/${node.name}` : "#forward"),
});
let playing = null; // the frame or timer that is waited for
let shown = [];
let told = ""; // the moment that the caption speaks of
let showsDust = false; // gradients at rounding level were asked for
let rest = null;

// ---- time -----------------------------------------------------------------------------------------

function seek(time) {
  view.seek(Math.min(end(view.last), Math.max(0, time)));
  tell();
}

function tell() {
  const { time, last } = view;
  const now = moment(time, last);
  scrubber.value = time;
  for (const [name, isOn] of [["forward", !view.isBack], ["backward", view.isBack]]) {
    $(`#network-${name}`).setAttribute("aria-pressed", isOn);
  }
  section.dataset.pass = view.isBack ? "backward" : "forward";
  if (playing) sums.grow(now.pass === "forward" ? now.share : 1);
  const key = `${now.pass} ${now.number} ${time === end(last)} ${time === last}`;
  if (told === key) return;
  told = key;
  caption(now);
  scrubber.setAttribute("aria-valuetext", $("#network-caption").textContent);
  if (view.chosen) return readout();
  if (playing && now.pass === "forward") sumOfStrongest(now.number);
}

function caption({ pass, number: k }) {
  const { nodes, answer } = view.scene;
  const node = nodes[k];
  const box = $("#network-caption");
  const rule = (text) => (text ? el("code", {}, text) : null);
  const line = (...parts) => box.replaceChildren(...parts.filter(Boolean));
  const whole = view.time === view.last;
  if (pass === "loss") {
    const p = answer.probabilities[answer.label];
    return line(el("b", {}, "The loss: "), `how wrong is it, if the label is ${name(answer.label)}? `, rule(`−log p[${answer.label}] = −log ${number(p)} = ${number(answer.loss)}`));
  }
  if (pass === "forward" && whole) {
    return line(el("b", {}, "Forward, all of it: "), "every map that the network makes of the digit. Point at any value to see where it comes from and where it goes.");
  }
  if (pass === "forward") {
    if (k === 0) return line(el("b", {}, "The image: "), node.about);
    return line(el("b", {}, `Forward ${k} of ${view.last}, ${node.name}: `), `${node.about} `, rule(node.rule));
  }
  if (view.time === end(view.last)) {
    return line(el("b", {}, "Backward, all of it: "), "how much each number would change the loss. Point at any one to see which of the gradients behind it reach it.");
  }
  if (!node.dy) return line(el("b", {}, `Backward, ${node.name}: `), "it is folded into the loss. Backward begins at the scores before it, with probabilities − one-hot.");
  const next = nodes[node.outputs[0]];
  line(el("b", {}, `Backward, the gradient at ${node.name}: `), next?.backward ? `sent back by ${next.name}: ` : "", rule(next?.backward));
}

const name = (label) => model().classes[label];

function play() {
  if (playing) return pause();
  view.choose(null);
  if (view.time === view.last || view.time === end(view.last)) view.time = 0;
  $("#network-play").textContent = "Pause";
  $("#network-play").setAttribute("aria-pressed", "true");
  if (still.matches) {
    const step = () => {
      if (view.time >= end(view.last)) return pause();
      seek(Math.floor(view.time) + 1);
      playing = setTimeout(step, STEP / speed());
    };
    playing = setTimeout(step, 0);
    return;
  }
  let before = null;
  const frame = (now) => {
    if (!playing) return;
    if (section.hidden) return pause();
    const passed = before === null ? 0 : Math.min(100, now - before);
    before = now;
    seek(view.time + (passed * speed()) / duration());
    if (view.time >= end(view.last)) return pause();
    playing = requestAnimationFrame(frame);
  };
  playing = requestAnimationFrame(frame);
}

const speed = () => Number($("#network-speed").value);

function duration() {
  const { pass, number: k } = moment(view.time + 1e-6, view.last);
  const node = view.scene.nodes[k];
  const worker = pass === "backward" ? view.scene.nodes[node.outputs[0]] : node;
  const slides = node.h * node.w > 1 && worker?.reach && !worker.reach.in_order && worker.reach.channels !== "same";
  return slides || worker?.winners ? SLIDING : PLAIN;
}

function pause() {
  if (playing) (still.matches ? clearTimeout : cancelAnimationFrame)(playing);
  playing = null;
  $("#network-play").textContent = "Play";
  $("#network-play").setAttribute("aria-pressed", "false");
}

// ---- what is pointed at ---------------------------------------------------------------------------

function point(found, isTouch = false) {
  const before = view.chosen;
  const isSame = found && before && found.number === before.number && place(found.index) === place(before.index);
  if (isSame || (!found && !isTouch)) return; // what was looked at stays, until something else is
  if (playing && found) pause();
  view.choose(found);
  clearTimeout(rest);
  readout();
  if (found) rest = setTimeout(() => askSum(found.number, found.index), REST);
}

/** Where a value is spelled out. */
function addressOf({ number: k, index }) {
  const { nodes } = view.scene;
  const node = nodes[k];
  const at = dotted(ownIndex(node, index));
  if (!view.isBack) return k ? `#forward/${node.name}/${at}` : "#forward";
  const next = nodes[node.outputs[0]];
  return next ? `#backward/${next.name}/dx.${at}` : "#backward/loss";
}

function readout() {
  const box = $("#network-readout");
  section.classList.toggle("asked", Boolean(view.chosen));
  if (!view.chosen) {
    box.replaceChildren(el("span", { class: "hint" }, "Nothing is pointed at."));
    return sums.clear();
  }
  const { node, index, value, gradient } = view.reading();
  const at = node.number ? `${node.name}${place(index)}` : `image${place(index)}`;
  const head = view.isBack
    ? [el("b", {}, `dL/d ${at} = ${node.dy ? signed(gradient) : "–"}`), el("span", { class: "hint" }, ` value ${signed(value)}`)]
    : [el("b", {}, `${at} = ${signed(value)}`)];
  const words = el(
    "div", {},
    el("p", {}, ...head), el("p", { class: "hint" }, view.isBack ? blameText(node) : viewText(node)),
    el("a", { class: "button", href: addressOf(view.chosen) }, "Spell it out"),
  );
  box.replaceChildren(el("div", { class: "loupe" }, ...loupe(view.scene, view.chosen, view.isBack)), words);
}

const span = (what, [first, last]) => (first === last ? `${what} ${first}` : `${what}s ${first} to ${last}`);

/** "rows 3 to 5, columns 2 to 4 of relu" */
function regionText(node, { rows, columns, channels }) {
  const all = !channels || channels.length === node.c;
  if (node.h * node.w === 1) return all ? `all of ${node.name}` : `${channels.length === 1 ? `number ${channels[0]}` : `${channels.length} numbers`} of ${node.name}`;
  const isWhole = rows[1] - rows[0] === node.h - 1 && columns[1] - columns[0] === node.w - 1;
  const maps = node.c === 1 ? "" : all ? `, in all ${node.c} maps` : channels.length === 1 ? `, map ${channels[0]}` : `, in ${channels.length} maps`;
  return `${isWhole ? "all places" : `${span("row", rows)}, ${span("column", columns)}`}${maps} of ${node.name}`;
}

function viewText(node) {
  const { nodes } = view.scene;
  const { index } = view.chosen;
  const parts = [];
  if (node.number) {
    const field = receptive(nodes, node.number, single(index));
    const near = node.inputs.filter((k) => field.has(k)).map((k) => regionText(nodes[k], field.get(k)));
    parts.push(near.length ? `It sees ${near.join(" and ")}` : "It sees nothing but padding");
    const image = field.get(0);
    if (image && !node.inputs.includes(0)) parts.push(`and so ${regionText(nodes[0], image)}`);
  }
  const fed = [...reachedBy(nodes, node.number, index)].map(([k, region]) => regionText(nodes[k], region));
  if (fed.length) parts.push(`${node.number ? "It" : "This pixel"} feeds ${fed.join(" and ")}`);
  return `${parts.join(". ").replace(". and", ", and")}.`;
}

function blameText(node) {
  const { nodes } = view.scene;
  if (!node.outputs.length || !node.dy) return "Backward begins here: probabilities − one-hot, at the scores.";
  const reached = [...reachedBy(nodes, node.number, view.chosen.index)];
  if (!reached.length) return "No window sees it, so no gradient reaches it.";
  const lost = reached.every(([, region]) => region.places?.length === 0);
  if (lost) return "No dy reaches it: it is not the largest of its window, and the gradient goes to the winner alone.";
  const texts = reached.map(([k, region]) =>
    region.places ? `the dy at ${region.places.map((p) => place(p)).join(", ")} of ${nodes[k].name}, whose window it won` : `the dy at ${regionText(nodes[k], region)}`,
  );
  return `What reaches it: ${texts.join(" and ")}.`;
}

// ---- the sum --------------------------------------------------------------------------------------

const sums = waterfall($("#network-sum"));

const askSum = newest(async (k, index) => {
  const node = view.scene.nodes[k];
  const { isBack } = view;
  const next = view.scene.nodes[node.outputs[0]]; // its dx is the gradient here, if it alone takes it
  const isSpelledOut = isBack ? node.outputs.length === 1 && next.dy && !view.scene.isDust : k > 0;
  if (!isSpelledOut) return sums.clear();
  const own = ownIndex(node, index);
  const { pixels, label, model: name_ } = state;
  const query = { pixels, index: own, model: name_, layer: isBack ? next.name : node.name };
  await attempt(problem, async () => {
    const sum = await (isBack ? post("/api/trace/input", { ...query, label }) : post("/api/trace/output", query));
    sums.show(`${isBack ? "dL/d " : ""}${node.number ? node.name : "image"}${place(own)}`, sum);
    sums.grow(playing ? moment(view.time, view.last).share : 1);
  });
});

function sumOfStrongest(k) {
  const node = view.scene.nodes[k];
  if (k) askSum(k, indexAt(node, strongest(node.y.data)));
}

// ---- keys -----------------------------------------------------------------------------------------

function onKey(event) {
  const { key, shiftKey } = event;
  if (event.altKey || event.ctrlKey || event.metaKey) return;
  if (key === " ") play();
  else if (key === "Escape") {
    view.choose(null);
    readout();
  } else if (key === "Enter" && view.chosen) location.hash = addressOf(view.chosen);
  else if (key.startsWith("Arrow")) pointTo(moved(key, shiftKey));
  else return;
  event.preventDefault();
}

function pointTo(found) {
  point(found);
  view.bringIntoSight(found.number);
}

/** Left and right go from layer to layer, up and down from map to map; with Shift, inside of a map. */
function moved(key, isInside) {
  const { nodes } = view.scene;
  if (!view.chosen) {
    const k = key === "ArrowLeft" ? view.last : 0;
    return { number: k, index: indexAt(nodes[k], strongest((view.isBack && nodes[k].dy ? nodes[k].dy : nodes[k].y).data)) };
  }
  const { number: k, index: [i, j, c] } = view.chosen;
  const by = key === "ArrowRight" || key === "ArrowDown" ? 1 : -1;
  const isAcross = key === "ArrowRight" || key === "ArrowLeft";
  const clamp = (value, size) => Math.min(size - 1, Math.max(0, value));
  const node = nodes[k];
  if (isInside) {
    return { number: k, index: isAcross ? [i, clamp(j + by, node.w), c] : [clamp(i + by, node.h), j, c] };
  }
  if (!isAcross) return { number: k, index: [i, j, clamp(c + by, node.c)] };
  const next = nodes[clamp(k + by, nodes.length)];
  const scaled = (at, from, to) => clamp(Math.round(((at + 0.5) * to) / from - 0.5), to);
  return { number: next.number, index: [scaled(i, node.h, next.h), scaled(j, node.w, next.w), clamp(c, next.c)] };
}

// ---- the section ----------------------------------------------------------------------------------

/** What an address asks for: "backward", a layer, and after it a place. */
function go(parts) {
  const [first, ...others] = parts[0] === "backward" || parts[0] === "forward" ? parts : [null, ...parts];
  if (first === "backward") seek(end(view.last));
  else if (first === "forward") seek(forwardEnd(view.last));
  const node = others[0] && view.node(others[0]);
  if (!node) return;
  const data = view.isBack && node.dy ? node.dy.data : node.y.data;
  const index = others[1] ? fromDotted(others[1]) : indexAt(node, strongest(data));
  if (index.some((at, axis) => !(at >= 0 && at < [node.h, node.w, node.c][axis]))) return;
  pointTo({ number: node.number, index });
}

let gone = null;

export const network = {
  section,
  needsDigit: true,
  async show(...parts) {
    await attempt(problem, async () => {
      const answer = await landscape();
      if (section.hidden) return;
      const now = [answer, document.documentElement.dataset.theme, stage.clientWidth];
      if (!now.every((part, k) => part === shown[k])) {
        if (shown[0] !== answer) showsDust = false;
        shown = now;
        view.set(answer);
        view.scene.isDust = isDust(answer.loss) && !showsDust;
        scrubber.max = end(view.last);
        told = "";
        seek(view.time);
        readout();
        dustNotice($("#network-dust"), answer, {
          isOff: showsDust,
          show: () => {
            showsDust = true;
            shown = [answer];
            network.show();
          },
        });
      }
      const place_ = [state.model, ...parts].join("/"); // another model may have such a layer
      if (parts.length && gone !== place_) go(parts);
      gone = place_;
    });
  },
  start() {
    const canvas = view.over;
    canvas.addEventListener("pointermove", (event) => {
      if (event.pointerType === "mouse") point(view.at(event));
    });
    let pointer = "mouse";
    canvas.addEventListener("pointerdown", (event) => (pointer = event.pointerType));
    canvas.addEventListener("click", (event) => {
      const found = view.at(event);
      if (pointer !== "mouse") return point(found, true); // a finger cannot hover: it points first
      if (found) location.hash = addressOf(found);
    });
    stage.addEventListener("keydown", onKey);
    $("#network-play").addEventListener("click", play);
    scrubber.addEventListener("input", () => {
      pause();
      view.chosen = null;
      seek(Number(scrubber.value));
      readout();
      const { pass, number: k } = moment(view.time, view.last);
      if (pass === "forward") sumOfStrongest(k);
    });
    scrubber.addEventListener("keydown", (event) => {
      const by = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1 }[event.key];
      if (!by) return;
      event.preventDefault();
      pause();
      view.chosen = null;
      seek(by > 0 ? Math.floor(view.time) + 1 : Math.ceil(view.time) - 1);
      readout();
    });
    for (const [pass, time] of [["forward", forwardEnd], ["backward", end]]) {
      $(`#network-${pass}`).addEventListener("click", () => {
        pause();
        seek(time(view.last));
        readout();
      });
    }
    $("#network-zoom").addEventListener("change", ({ target }) => {
      view.zoom = Number(target.value);
      view.arrange();
    });
  },
  /** For the guide: what is to be seen at a step of a tour. False while nothing is shown yet. */
  stand({ pass, made, sent, point: at }) {
    if (section.hidden || !view.scene?.plan) return false;
    pause();
    const node = (text) => view.node(text)?.number ?? 0;
    if (made !== undefined) seek(node(made));
    else if (sent !== undefined) seek(backAt(view.last, node(sent)));
    else if (pass) seek(pass === "backward" ? end(view.last) : forwardEnd(view.last));
    view.choose(null);
    readout();
    if (at) go([at.layer, ...(at.place ? [at.place] : [])]);
    return true;
  },
};
