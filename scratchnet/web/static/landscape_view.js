// A landscape on the page: its canvases and headings, drawn at a time, with a value chosen or none.

import { el, number, times } from "./dom.js";
import { fullIndex, graph, ownIndex } from "./landscape_data.js";
import { find, layout } from "./landscape_layout.js";
import { dot, frame, paint, palette, winnersAt } from "./landscape_paint.js";
import { back, feeds, forth, reachedBy, receptive, single } from "./landscape_reach.js";
import { forwardEnd, moment, placeAt } from "./landscape_time.js";
import { model } from "./state.js";

/** Sharper than this no eye asks for, and no phone's memory holds. */
const SHARPEST = 2;
/** A narrower column's name stands upright. */
const [NARROW, ROOMY] = [44, 80];
/** On a small screen a column is at least that wide, with its gap, and the rest is scrolled to. */
const [SMALL_SCREEN, COLUMN] = [700, 104];
/** Pixels for the names, and below the lowest map. */
const AIR = 6;
const HEADS = { flat: 44, upright: 150 };

export class Landscape {
  /**
   * root        the element that scrolls
   * height      gives the height of the maps, in CSS pixels
   * addressOf   gives a heading's address by its node; without it headings are no links
   */
  constructor(root, { height = () => 440, addressOf = null } = {}) {
    Object.assign(this, { root, height, addressOf, scene: null, time: 0, chosen: null, zoom: 1 });
    this.heads = el("div", { class: "heads" });
    this.canvas = el("canvas", { "aria-hidden": "true" });
    this.over = el("canvas", { class: "over", "aria-hidden": "true" });
    this.inner = el("div", { class: "inner" }, this.heads, this.canvas, this.over);
    root.replaceChildren(this.inner);
  }

  get last() {
    return this.scene.nodes.length - 1;
  }

  get isBack() {
    return this.scene && this.time > this.last + 1;
  }

  /** Show an answer; the time stays where it was, or is the end of the forward pass. */
  set(answer) {
    const isSame = this.scene && this.scene.answer.nodes.length === answer.nodes.length;
    this.scene = { answer, nodes: graph(answer), names: model().classes };
    if (!isSame) this.time = forwardEnd(this.last);
    if (!isSame) this.chosen = null;
    this.arrange();
  }

  /** Lay everything out anew: another width, zoom or theme. */
  arrange() {
    const { scene } = this;
    const room = this.root.clientWidth;
    if (!scene || !room) return;
    const columns = scene.nodes.length;
    const wide = (room < SMALL_SCREEN ? Math.max(room, columns * COLUMN) : room) * this.zoom;
    const least = wide / columns > ROOMY ? NARROW + 1 : 0; // then names can lie flat
    scene.plan = layout(scene.nodes, wide, this.height(), least);
    scene.colour = palette();
    const isUpright = scene.plan.boxes.some(({ left, right }) => right - left < NARROW);
    this.top = isUpright ? HEADS.upright : HEADS.flat;
    const { width, height } = scene.plan;
    this.inner.style.width = `${width}px`;
    this.inner.style.height = `${this.top + height + AIR}px`;
    const sharp = Math.min(devicePixelRatio, SHARPEST);
    for (const canvas of [this.canvas, this.over]) {
      canvas.width = Math.ceil(width * sharp);
      canvas.height = Math.ceil(height * sharp);
      canvas.style.width = `${width}px`;
      canvas.style.height = `${height}px`;
      canvas.style.top = `${this.top}px`;
      canvas.getContext("2d").setTransform(sharp, 0, 0, sharp, 0, 0);
    }
    this.head(isUpright);
    this.draw();
  }

  head(isUpright) {
    const { nodes, plan } = this.scene;
    this.heads.className = isUpright ? "heads upright" : "heads";
    const links = nodes.map((node) => {
      const { left, right, top } = plan.boxes[node.number];
      const size = node.h * node.w > 1 ? `${node.c} × ${node.h}×${node.w}` : `${node.c}`;
      const href = this.addressOf?.(node);
      const tag = href ? "a" : "span";
      const title = `${node.name}: ${times(node.shape)}. ${node.about}`;
      const link = el(tag, { href, title, "data-node": node.name }, el("b", {}, node.short), el("small", {}, size));
      link.style.left = `${left - 11}px`;
      link.style.width = `${right - left + 22}px`;
      if (top) {
        link.classList.add("low");
        link.style.top = `${this.top + top - 20}px`;
      }
      return link;
    });
    this.heads.replaceChildren(...links);
  }

  draw() {
    if (!this.scene?.plan) return;
    paint(this.canvas.getContext("2d"), this.scene, this.time);
    this.drawOver();
  }

  seek(time) {
    this.time = time;
    this.draw();
  }

  // ---- what lies over the maps ----------------------------------------------------------------------

  drawOver() {
    const context = this.over.getContext("2d");
    const { plan, nodes } = this.scene;
    context.clearRect(0, 0, plan.width, plan.height);
    const now = moment(this.time, this.last);
    if (this.chosen) {
      if (this.isBack) this.frameBackward(context);
      else this.frameForward(context);
      return;
    }
    if (now.share >= 1 || now.pass === "loss") return;
    const node = nodes[now.number];
    if (now.pass === "forward") this.workForward(context, node, now.share);
    else this.workBackward(context, node, now.share);
  }

  frameForward(context) {
    const { scene } = this;
    const { nodes, colour } = scene;
    const { number: at, index } = this.chosen;
    for (const [number, region] of receptive(nodes, at, single(index))) {
      if (number !== at) frame(context, scene, number, region, colour["--see"]);
    }
    for (const [number, region] of feeds(nodes, at, single(index))) {
      if (number !== at) frame(context, scene, number, region, colour["--feed"]);
    }
    frame(context, scene, at, single(index), colour["--chosen"], 2.5);
  }

  frameBackward(context) {
    const { scene } = this;
    const { nodes, colour } = scene;
    const { number: at, index } = this.chosen;
    for (const [number, region] of receptive(nodes, at, single(index))) {
      if (number !== at) frame(context, scene, number, region, colour["--feed"], 1);
    }
    for (const [output, region] of reachedBy(nodes, at, index)) {
      if (!region.places) {
        this.frameAll(context, output, region);
        continue;
      }
      frame(context, scene, output, region, colour["--edge"], 1);
      for (const place of region.places) this.frameAll(context, output, single(place));
    }
    frame(context, scene, at, single(index), colour["--chosen"], 2.5);
  }

  /** A region of dy, and faintly what it came from, up to the probabilities. */
  frameAll(context, number, region) {
    const { scene } = this;
    context.globalAlpha = 0.45;
    for (const [later, part] of feeds(scene.nodes, number, region)) {
      if (later !== number) frame(context, scene, later, part, scene.colour["--see"], 1);
    }
    context.globalAlpha = 1;
    frame(context, scene, number, region, scene.colour["--see"], 2);
  }

  /** The region that is worked on: a place of all maps, or one value of a vector. */
  working(node, share, isReversed) {
    const [i, j] = placeAt(share, node, isReversed);
    if (node.h * node.w > 1) return { rows: [i, i], columns: [j, j], channels: null };
    const k = Math.min(node.c - 1, Math.floor(share * node.c));
    return single([0, 0, isReversed ? node.c - 1 - k : k]);
  }

  workForward(context, node, share) {
    const { scene } = this;
    const region = this.working(node, share, false);
    frame(context, scene, node.number, region, scene.colour["--chosen"], 2);
    for (const input of node.inputs) {
      const part = back(scene.nodes, node, input, region);
      if (part) frame(context, scene, input, part, scene.colour["--see"]);
    }
    if (!node.winners) return;
    for (const place of winnersAt(scene, node.number, [region.rows[0], region.columns[0]])) {
      dot(context, scene, node.inputs[0], place, scene.colour["--chosen"]);
    }
  }

  workBackward(context, node, share) {
    const { scene } = this;
    const region = this.working(node, share, true);
    frame(context, scene, node.number, region, scene.colour["--chosen"], 2);
    for (const output of node.outputs) {
      const next = scene.nodes[output];
      const part = forth(scene.nodes, next, node.number, region);
      if (!part) continue;
      if (!next.winners) {
        frame(context, scene, output, part, scene.colour["--see"]);
        continue;
      }
      for (let k = 0; k < node.c; k++) {
        const won = reachedBy(scene.nodes, node.number, [region.rows[0], region.columns[0], k]).get(output);
        for (const place of won?.places ?? []) {
          dot(context, scene, output, place, scene.colour["--see"]);
          dot(context, scene, node.number, [region.rows[0], region.columns[0], k], scene.colour["--chosen"]);
        }
      }
    }
  }

  // ---- finding --------------------------------------------------------------------------------------

  /** The value under a pointer; null where there is none. */
  at(event) {
    if (!this.scene?.plan) return null;
    const box = this.canvas.getBoundingClientRect();
    return find(this.scene.plan, this.scene.nodes, event.clientX - box.left, event.clientY - box.top);
  }

  node(name) {
    return this.scene?.nodes.find((one) => one.name === name || (one.number && one.short === name));
  }

  choose(chosen) {
    this.chosen = chosen;
    if (this.scene?.plan) this.drawOver();
  }

  /** Scroll sideways until a node's column is in sight. */
  bringIntoSight(numberOf) {
    const { left, right } = this.scene.plan.boxes[numberOf];
    const { scrollLeft, clientWidth } = this.root;
    if (left >= scrollLeft && right <= scrollLeft + clientWidth) return;
    this.root.scrollLeft = (left + right - clientWidth) / 2;
  }

  /** What is chosen in words and numbers: {name, index, node, value, gradient}. */
  reading() {
    const { number: at, index } = this.chosen;
    const node = this.scene.nodes[at];
    const where = (node.h === 1 && node.w === 1 ? index[2] : (index[0] * node.w + index[1]) * node.c + index[2]);
    const value = node.y.data[where] * node.y.scale;
    const gradient = node.dy && node.dy.data[where] * node.dy.scale;
    return { node, index: ownIndex(node, index), value, gradient };
  }
}

/** "[12, 9, 5]" of a reading, or its address "12.9.5". */
export const dotted = (index) => index.join(".");
export const fromDotted = (text) => fullIndex(text.split(".").map(Number));
export { number };
