// Lines over the batches of a training, drawn on a canvas.

import { el, number } from "./dom.js";

const COLOURS = 8;
/** Lines with fewer points than this show each. */
const FEW = 12;
const HEIGHT = 200;
const [LEFT, RIGHT, TOP, BOTTOM] = [56, 8, 10, 24];

/**
 * A chart in a <figure>.
 *   log     a logarithmic scale;   high   the upper end where it is fixed
 *   names   of the lines that are always there;   unit   what x counts
 * `add(name, x, y)` adds a point to a line, `clear(end)` starts anew with x from 0 to `end`.
 */
export class Chart {
  constructor(figure, title, { log = false, high = null, names = [], unit = "batches" } = {}) {
    Object.assign(this, { log, high, title, names, unit });
    this.canvas = el("canvas", { role: "img" });
    this.key = el("ul", { class: "key" });
    figure.replaceChildren(el("figcaption", {}, title), this.canvas, this.key);
    this.clear(1);
  }

  clear(end) {
    this.end = end;
    this.lines = new Map();
    this.key.replaceChildren();
    this.names.forEach((name) => this.line(name));
    this.draw();
  }

  /** The line of that name; a new one with the next colour where there is none. */
  line(name) {
    if (!this.lines.has(name)) {
      const value = el("span");
      const swatch = el("i");
      swatch.style.background = `var(--line-${this.lines.size % COLOURS})`;
      this.key.append(el("li", {}, swatch, `${name} `, value));
      this.lines.set(name, { points: [], value });
    }
    return this.lines.get(name);
  }

  add(name, x, y) {
    if (y == null || (this.log && y <= 0)) return;
    const line = this.line(name);
    line.points.push([x, y]);
    line.value.textContent = number(y, 3);
    this.waiting ??= requestAnimationFrame(() => this.draw());
  }

  draw() {
    this.waiting = null;
    const context = this.canvas.getContext("2d");
    const style = getComputedStyle(document.documentElement);
    const colour = (name) => style.getPropertyValue(name).trim();
    const width = this.canvas.clientWidth;
    this.canvas.width = width * devicePixelRatio;
    this.canvas.height = HEIGHT * devicePixelRatio;
    context.scale(devicePixelRatio, devicePixelRatio);
    context.font = `12px ${colour("--sans")}`;
    const values = [...this.lines.values()].flatMap(({ points }) => points.map(([, y]) => y));
    const [low, high] = this.range(values);
    const to = this.log ? Math.log10 : (y) => y;
    const px = (x) => LEFT + (x / this.end) * (width - LEFT - RIGHT);
    const py = (y) =>
      HEIGHT - BOTTOM - ((to(y) - to(low)) / (to(high) - to(low))) * (HEIGHT - TOP - BOTTOM);

    context.fillStyle = colour("--muted");
    context.strokeStyle = colour("--line");
    context.textAlign = "right";
    context.textBaseline = "middle";
    for (const y of this.ticks(low, high)) {
      context.beginPath();
      context.moveTo(LEFT, py(y));
      context.lineTo(width - RIGHT, py(y));
      context.stroke();
      context.fillText(number(y, 2), LEFT - 8, py(y));
    }
    context.textBaseline = "alphabetic";
    context.fillText(this.end === 1 ? this.unit : `${this.end} ${this.unit}`, width - RIGHT, HEIGHT - 6);
    [...this.lines.values()].forEach(({ points }, k) => {
      context.strokeStyle = context.fillStyle = colour(`--line-${k % COLOURS}`);
      context.lineWidth = 1.8;
      context.beginPath();
      points.forEach(([x, y]) => context.lineTo(px(x), py(y)));
      context.stroke();
      for (const [x, y] of points.length < FEW ? points : []) {
        context.beginPath();
        context.arc(px(x), py(y), 3, 0, 7);
        context.fill();
      }
    });
    const last = [...this.lines].map(([name, { value }]) => `${name} ${value.textContent}`);
    this.canvas.setAttribute("aria-label", `${this.title}: ${last.join(", ") || "nothing yet"}`);
  }

  range(values) {
    if (!values.length) return this.log ? [1e-4, 1] : [0, this.high ?? 1];
    if (!this.log) return [0, this.high ?? Math.max(...values) * 1.05];
    const [low, high] = [Math.min(...values), Math.max(...values)].map(Math.log10);
    return [10 ** Math.floor(low), 10 ** Math.max(Math.ceil(high), Math.floor(low) + 1)];
  }

  ticks(low, high) {
    if (this.log) {
      const decades = Math.round(Math.log10(high / low));
      return Array.from({ length: decades + 1 }, (_, k) => low * 10 ** k);
    }
    return [0, 0.25, 0.5, 0.75, 1].map((share) => low + share * (high - low));
  }
}
