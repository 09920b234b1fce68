// The 28 x 28 image, to be painted on pixel by pixel: with a pointer, or with the arrow keys.

import { el } from "./dom.js";
import { paintDigit } from "./maps.js";

const SIDE = 28;
const CELL = 10;

/**
 * The image as rows of 0 to 255.
 *   moved(pixels)   called while a stroke is made;   ended(pixels)   when it is over
 */
export class PixelPad {
  constructor(pixels, { moved, ended }) {
    Object.assign(this, { moved, ended, level: 255, cursor: [14, 14], pointer: null });
    this.canvas = el("canvas", {
      class: "pixel-pad", width: SIDE * CELL, height: SIDE * CELL, tabindex: 0, role: "application",
      "aria-label": "The image, 28 by 28 pixels. The arrow keys move, the space bar paints.",
    });
    const pens = [["White ink", 255], ["Black ink", 0]].map(([name, level]) =>
      el("button", { type: "button", "aria-pressed": String(level === this.level), onclick: () => this.take(level) }, name),
    );
    this.pens = pens;
    this.said = el("p", { class: "hint", "aria-live": "polite" }, "");
    this.node = el("div", {}, this.canvas, el("div", { class: "row" }, ...pens), this.said);
    this.canvas.addEventListener("pointerdown", (event) => this.begin(event));
    this.canvas.addEventListener("pointermove", (event) => this.move(event));
    for (const name of ["pointerup", "pointercancel"]) this.canvas.addEventListener(name, (event) => this.end(event));
    this.canvas.addEventListener("keydown", (event) => this.key(event));
    this.canvas.addEventListener("focus", () => this.draw());
    this.canvas.addEventListener("blur", () => this.draw());
    this.show(pixels);
  }

  show(pixels) {
    this.pixels = pixels.map((row) => [...row]);
    this.draw();
  }

  take(level) {
    this.level = level;
    this.pens[0].setAttribute("aria-pressed", String(level === 255));
    this.pens[1].setAttribute("aria-pressed", String(level === 0));
  }

  begin(event) {
    if (this.pointer !== null) return;
    this.pointer = event.pointerId;
    this.canvas.setPointerCapture(event.pointerId);
    this.paint(this.placeOf(event));
  }

  move(event) {
    if (event.pointerId === this.pointer) this.line(this.placeOf(event));
  }

  end(event) {
    if (event.pointerId !== this.pointer) return;
    this.pointer = null;
    this.ended(this.copy());
  }

  key(event) {
    const by = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
    if (by) {
      this.cursor = this.cursor.map((at, axis) => Math.max(0, Math.min(SIDE - 1, at + by[axis])));
      const [i, j] = this.cursor;
      this.said.textContent = `Row ${i}, column ${j}: ${this.pixels[i][j]}`;
      this.draw();
    } else if (event.key === " " || event.key === "Enter") {
      this.paint(this.cursor);
      this.ended(this.copy());
    } else {
      return;
    }
    event.preventDefault();
  }

  placeOf(event) {
    const box = this.canvas.getBoundingClientRect();
    return [(event.clientY - box.top) / box.height, (event.clientX - box.left) / box.width].map((share) =>
      Math.max(0, Math.min(SIDE - 1, Math.floor(share * SIDE))),
    );
  }

  paint(place) {
    this.cursor = place;
    this.line(place);
  }

  /** Every pixel on the way from where the pen was, however fast it went. */
  line(to) {
    const from = this.cursor;
    const count = Math.max(1, ...to.map((at, axis) => Math.abs(at - from[axis])));
    let isNew = false;
    for (let k = 1; k <= count; k++) {
      const [i, j] = to.map((at, axis) => Math.round(from[axis] + ((at - from[axis]) * k) / count));
      isNew ||= this.pixels[i][j] !== this.level;
      this.pixels[i][j] = this.level;
    }
    this.cursor = to;
    if (!isNew) return;
    this.draw();
    this.moved(this.copy());
  }

  copy() {
    return this.pixels.map((row) => [...row]);
  }

  draw() {
    const context = this.canvas.getContext("2d");
    const small = new OffscreenCanvas(SIDE, SIDE);
    paintDigit(small, this.pixels);
    context.imageSmoothingEnabled = false;
    context.drawImage(small, 0, 0, SIDE * CELL, SIDE * CELL);
    if (document.activeElement !== this.canvas) return;
    const [i, j] = this.cursor;
    context.strokeStyle = "#e6007a";
    context.lineWidth = 2;
    context.strokeRect(j * CELL + 1, i * CELL + 1, CELL - 2, CELL - 2);
  }
}
