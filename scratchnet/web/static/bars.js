// Numbers by class as bars.

import { el, percent, signed } from "./dom.js";

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
 *   limit   what the longest bar stands for; the largest absolute value when left out
 */
export function differences(values, { names, title, pick = null, limit = null }) {
  const most = limit ?? (Math.max(...values.map(Math.abs)) || 1);
  const rows = [...values].map((value, k) => {
    const fill = el("i", { class: value < 0 ? "below" : "above" });
    fill.style.width = `${(50 * Math.abs(value)) / most}%`;
    const cells = [
      el("b", {}, names ? names[k] : String(k)),
      el("span", { class: "track middle" }, fill),
      el("span", { class: "value" }, signed(value, 3)),
    ];
    if (!pick) return el("li", {}, ...cells);
    return el("li", {}, el("button", { type: "button", onclick: () => pick([k]) }, ...cells));
  });
  const figure = el(
    "figure", { class: "maps" },
    el("figcaption", {}, title),
    el("ol", { class: "bars around" }, ...rows),
  );
  figure.mark = ([k]) => rows.forEach((row, i) => row.classList.toggle("chosen", i === k));
  return figure;
}
