// Small helpers: elements, numbers as text, errors in place.

export const $ = (selector, root = document) => root.querySelector(selector);

/** An element; properties that start with "on" are listeners, the others attributes. */
export function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value === true) node.setAttribute(name, "");
    else if (value !== false && value != null) node.setAttribute(name, value);
  }
  node.append(...children.filter((child) => child != null));
  return node;
}

/** A number with so many significant digits and a real minus; null is infinite or missing. */
export function number(value, digits = 4) {
  if (value == null || Number.isNaN(value)) return "–";
  if (value === 0) return "0";
  const small = Math.abs(value) < 1e-4 || Math.abs(value) >= 1e6;
  const text = small ? value.toExponential(digits - 1) : String(Number(value.toPrecision(digits)));
  return text.replaceAll("-", "−");
}

export const signed = (value, digits) => (value > 0 ? "+" : "") + number(value, digits);
export const count = (value) => value.toLocaleString("en");
export const times = (shape) => shape.join(" × ");
export const place = (index) => `[${index.join(", ")}]`;

export function percent(share) {
  if (share == null) return "–";
  if (share > 0 && share < 0.0005) return "< 0.1 %";
  if (share < 1 && share > 0.9995) return "> 99.9 %";
  return `${(100 * share).toFixed(1)} %`;
}

/** Waiting for longer than these milliseconds is said. */
const PATIENCE = 500;

/** Run `work`; an error becomes one line in `box`, which is hidden while all is well. */
export async function attempt(box, work) {
  const section = box.closest("section");
  const slow = setTimeout(() => section?.setAttribute("aria-busy", "true"), PATIENCE);
  try {
    await work();
    say(box, null);
  } catch (error) {
    say(box, error.message);
  }
  clearTimeout(slow);
  section?.setAttribute("aria-busy", "false");
}

export function say(box, message) {
  box.textContent = message ?? "";
  box.hidden = !message;
}

/** <select> options; each entry is a value, or [value, text]. */
export function fill(select, entries, chosen) {
  select.replaceChildren(
    ...entries.map((entry) => {
      const [value, text] = Array.isArray(entry) ? entry : [entry, entry];
      return el("option", { value, selected: String(value) === String(chosen) }, String(text));
    }),
  );
}
