// Numbers by class as bars.

import { el, number, percent, signed } from "./dom.js";

/** Shares from 0 to 1, made once and then moved by `set(values)`; the largest stands out. */
export function shares(names) {
  const rows = names.map((name) => {
    const fill = el("i");
    const text = el("span", { class: "value" });
    return { item: el("li", {}, el("b", {}, name), el("span", { class: "track" }, fill), text), fill, text };
  });
  const list = el("ol", { class: "bars" }, ...rows.map((row) => row.item));
  list.set = (values) => {
    const best = values && Math.max(...values);
    rows.forEach(({ item, fill, text }, k) => {
      const value = values ? values[k] : 0;
      fill.style.width = `${100 * value}%`;
      text.textContent = values ? percent(value) : "";
      item.classList.toggle("best", values != null && value === best);
    });
  };
  list.set(null);
  return list;
}

/**
 * Numbers of either sign around a middle line; `pick(k)` makes the rows buttons.
 *   limit     what the longest bar stands for; the largest absolute value when left out
 *   isShare   shares from 0 to 1: bars from the left, the largest stands out
 */
export function differences(values, { names, title, pick = null, limit = null, isShare = false }) {
  const most = isShare ? 1 : limit ?? (Math.max(...values.map(Math.abs)) || 1);
  const best = isShare ? Math.max(...values) : NaN;
  const rows = [...values].map((value, k) => {
    const fill = el("i", { class: value < 0 ? "below" : "above" });
    fill.style.width = `${((isShare ? 100 : 50) * Math.abs(value)) / most}%`;
    const cells = [
      el("b", {}, names ? names[k] : String(k)),
      el("span", { class: isShare ? "track" : "track middle" }, fill),
      el("span", { class: "value" }, isShare ? number(value, 3) : signed(value, 3)),
    ];
    const look = { class: value === best ? "best" : "" };
    if (!pick) return el("li", look, ...cells);
    return el("li", look, el("button", { type: "button", onclick: () => pick([k]) }, ...cells));
  });
  const figure = el(
    "figure", { class: "maps" },
    el("figcaption", {}, title),
    el("ol", { class: "bars around" }, ...rows),
  );
  figure.mark = ([k]) => rows.forEach((row, i) => row.classList.toggle("chosen", i === k));
  return figure;
}
