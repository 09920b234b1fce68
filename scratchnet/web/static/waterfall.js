// A sum that builds up: every product a step up or down from where the ones before it led.

import { count, el, number, signed } from "./dom.js";

const HEIGHT = 84;

/**
 * In `box`; `show(name, sum)` an answer of /api/trace/output, `grow(share)` so much of it, `clear()`.
 */
export function waterfall(box) {
  const canvas = el("canvas", { role: "img" });
  const text = el("p", { class: "hint" });
  const formula = el("code", {});
  let now = null;

  function steps(sum) {
    const found = sum.terms.map((term) => term.product ?? 0);
    if (sum.others.count) found.push(sum.others.sum ?? 0);
    if (sum.bias) found.push(sum.bias);
    return found;
  }

  function draw(share) {
    const { name, sum, parts } = now;
    const shown = Math.round(share * parts.length);
    const width = box.clientWidth;
    if (!width) return;
    const sharp = Math.min(2, devicePixelRatio);
    canvas.width = width * sharp;
    canvas.height = HEIGHT * sharp;
    const context = canvas.getContext("2d");
    context.scale(sharp, sharp);
    const style = getComputedStyle(document.documentElement);
    const colour = (key) => style.getPropertyValue(key).trim();
    const levels = [0];
    parts.forEach((part) => levels.push(levels.at(-1) + part));
    const [low, high] = [Math.min(...levels), Math.max(...levels)];
    const y = (level) => 6 + ((high - level) / (high - low || 1)) * (HEIGHT - 12);
    const step = Math.min(26, (width - 8) / parts.length);
    context.fillStyle = colour("--line");
    context.fillRect(0, y(0), width, 1);
    for (let k = 0; k < shown; k++) {
      const [a, b] = [y(levels[k]), y(levels[k + 1])];
      context.fillStyle = colour(parts[k] < 0 ? "--map-below" : "--map-above");
      context.fillRect(4 + k * step, Math.min(a, b), Math.max(1, step - 1), Math.max(1, Math.abs(a - b)));
    }
    const all = sum.terms.length + sum.others.count;
    const order = all > 1 ? ", the largest first" : "";
    const done = shown >= parts.length;
    text.textContent = done
      ? `${name} = ${number(sum.total, 5)}: ${count(all)} ${all === 1 ? "term" : "terms"}${sum.bias ? ` and a bias of ${signed(sum.bias, 3)}` : ""}${order}.`
      : `${name}, the sum so far: ${number(levels[shown], 4)}, ${shown} of ${parts.length} steps.`;
    canvas.setAttribute("aria-label", `How ${name} = ${number(sum.total, 4)} adds up`);
  }

  return {
    show(name, sum) {
      now = { name, sum, parts: steps(sum) };
      formula.textContent = sum.formula;
      box.replaceChildren(el("p", {}, formula), canvas, text);
      box.hidden = false;
    },
    grow(share) {
      if (now && !box.hidden) draw(share);
    },
    clear() {
      now = null;
      box.hidden = true;
    },
  };
}
