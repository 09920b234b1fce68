// An analytic derivative beside the numeric one, and the sum behind it: what the server found.

import { sumTable } from "./arithmetic.js";
import { el, number } from "./dom.js";
import { image, maps } from "./maps.js";

/** The values, whether they agree, and under them what `pictures` adds and the terms. */
export function compared(answer, title, letter, pictures = []) {
  const { analytic, numeric, step: h, relative_error: error, agrees, verdict } = answer;
  const fact = (term, text, kind) => el("div", { class: kind ?? "" }, el("dt", {}, term), el("dd", {}, text));
  const slope = `numeric, (L(${letter} + h) − L(${letter} − h)) / 2h with h = ${number(h, 1)}`;
  return [
    el("h3", {}, title),
    el(
      "dl", { class: "facts" },
      fact("analytic, by the backward pass", number(analytic, 9), "analytic"),
      fact(slope, number(numeric, 9), "numeric"),
      fact("relative difference", `${number(error, 2)}: ${verdict}`, agrees ? "agree" : "differ"),
    ),
    ...pictures,
    sumTable(answer, "total = analytic gradient"),
  ];
}

/** Where a gradient is a sum of x · dy over places: x, dy and their products, side by side. */
export function factors({ x, dy, map, factor }) {
  if (map?.shape.length !== 2 || map.data.length < 4) return [];
  const look = { room: 300, height: 240, most: 10 };
  const views = [
    maps(image(x), { ...look, title: "x that the weight meets" }),
    maps(image(dy), { ...look, title: factor, signed: true }),
    maps(image(map), { ...look, title: "What each place contributes: x · dy", signed: true }),
  ];
  return [el("div", { class: "through" }, ...views)];
}
