// One number as the sum that makes it: the formula, the largest terms, the rest, the total.

import { count, el, number, place, signed } from "./dom.js";

/** A table of the terms of an answer of /api/trace/output or /api/trace/parameter. */
export function sumTable(sum, result) {
  const row = (tag, at, source, ...numbers) => {
    const cells = numbers.map((text) => el(tag, {}, text));
    return el("tr", {}, el(tag, {}, at), el(tag, { class: "from" }, source), ...cells);
  };
  const body = sum.terms.map(({ at, source, x, factor, product }) =>
    row("td", place(at), source ? place(source) : "–", signed(x), signed(factor), signed(product)),
  );
  const table = el(
    "table", { class: "sum" },
    el("thead", {}, row("th", "at", `from ${sum.first}`, sum.first, sum.factor, "product")),
    el("tbody", {}, ...body),
  );
  const line = (name, value, strong) =>
    el("div", { class: strong ? "strong" : "" }, el("dt", {}, name), el("dd", {}, value));
  const { others, terms } = sum;
  const largest = terms.reduce((most, { product }) => Math.max(most, Math.abs(product ?? 0)), 0);
  const shown = terms.reduce((total, term) => total + (term.product ?? 0), 0);
  return el(
    "div", { class: "arithmetic" },
    el("p", {}, el("code", {}, sum.formula)),
    el("div", { class: "scroll rows", tabindex: 0, role: "region", "aria-label": "Terms of the sum" }, table),
    el(
      "dl", {},
      others.count ? line(`the ${terms.length} largest terms`, signed(shown)) : null,
      others.count ? line(`${count(others.count)} other terms`, signed(others.sum)) : null,
      sum.bias ? line("constant (bias)", signed(sum.bias)) : null,
      line(result, number(sum.total, 8), true),
      isRounding(sum.total, largest, terms.length + others.count) ? line("", "0, but for rounding: its terms cancel") : null,
    ),
  );
}

/** Whether a sum is no larger than what float64 may lose while it adds `count` such terms up. */
export function isRounding(total, largest, count_) {
  return total !== null && total !== 0 && Math.abs(total) <= count_ * largest * Number.EPSILON;
}

/** Number fields for an index, one for each axis; `change(index)` is called when they are valid. */
export function indexFields(axes, shape, change) {
  const inputs = shape.map((size) =>
    el("input", { type: "number", min: 0, max: size - 1, value: 0, required: true }),
  );
  const report = () => {
    if (inputs.every((input) => input.reportValidity())) change(inputs.map((i) => Number(i.value)));
  };
  const fields = inputs.map((input, axis) => el("label", {}, `${axes[axis]} `, input));
  const form = el("form", { class: "row fields index" }, ...fields, el("button", {}, "Show"));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    report();
  });
  form.addEventListener("change", report);
  form.set = (index) => index.forEach((i, axis) => (inputs[axis].value = i));
  return form;
}

/** A few numbers as a small table, `rows` of texts. */
export function matrix(title, rows) {
  const line = (cells) => el("tr", {}, ...cells.map((cell) => el("td", {}, cell)));
  return el("figure", { class: "matrix" }, el("figcaption", {}, title), el("table", {}, ...rows.map(line)));
}
