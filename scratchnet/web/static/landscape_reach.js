// What a value depends on, back to the image, and what depends on it, forward to the probabilities.
//
// A region of a node is {rows: [first, last], columns: [first, last], channels}, where channels is
// a sorted list, or null for all. Which rows see which rows is the layers' own answer.

import { indexAt, place } from "./landscape_data.js";

export const whole = ({ h, w }) => ({ rows: [0, h - 1], columns: [0, w - 1], channels: null });
export const single = ([i, j, k]) => ({ rows: [i, i], columns: [j, j], channels: [k] });

/** The smallest region that holds both; either may be null. */
export function union(a, b) {
  if (!a || !b) return a ?? b;
  const span = (p, q) => [Math.min(p[0], q[0]), Math.max(p[1], q[1])];
  const channels =
    a.channels && b.channels
      ? [...new Set([...a.channels, ...b.channels])].sort((p, q) => p - q)
      : null;
  return { rows: span(a.rows, b.rows), columns: span(a.columns, b.columns), channels };
}

/** From the first to the last place that `spans[first..last]` see; null where they see none. */
function seen(spans, [first, last]) {
  let [low, high] = [Infinity, -Infinity];
  for (let i = first; i <= last; i++) {
    const [from, to] = spans[i];
    if (from > to) continue;
    low = Math.min(low, from);
    high = Math.max(high, to);
  }
  return low > high ? null : [low, high];
}

/** From the first to the last of the spans that see one of the places; null where none does. */
function seeing(spans, [first, last]) {
  let [low, high] = [Infinity, -Infinity];
  spans.forEach(([from, to, step], i) => {
    if (from > last || to < first) return;
    const next = from + Math.ceil(Math.max(0, first - from) / step) * step; // the window has gaps
    if (next > Math.min(last, to)) return;
    low = Math.min(low, i);
    high = Math.max(high, i);
  });
  return low > high ? null : [low, high];
}

function reordered(from, to, region) {
  const places = [];
  const channels = region.channels ?? Array.from({ length: from.c }, (_, k) => k);
  for (let i = region.rows[0]; i <= region.rows[1]; i++) {
    for (let j = region.columns[0]; j <= region.columns[1]; j++) {
      for (const k of channels) places.push(indexAt(to, place(from, [i, j, k])));
    }
  }
  const span = (axis) => {
    const all = places.map((index) => index[axis]);
    return all.reduce(([low, high], i) => [Math.min(low, i), Math.max(high, i)], [Infinity, -Infinity]);
  };
  const found = [...new Set(places.map(([, , k]) => k))].sort((p, q) => p - q);
  return { rows: span(0), columns: span(1), channels: found.length === to.c ? null : found };
}

function isWhole(node, { rows, columns, channels }) {
  return !channels && rows[0] === 0 && columns[0] === 0 && rows[1] === node.h - 1 && columns[1] === node.w - 1;
}

/** The region of an input of `node` that a region of its output sees; null where it sees none. */
export function back(nodes, node, input, region) {
  const before = nodes[input];
  const { reach } = node;
  if (reach.in_order) return isWhole(node, region) ? whole(before) : reordered(node, before, region);
  const rows = seen(reach.rows, region.rows);
  const columns = seen(reach.columns, region.columns);
  if (!rows || !columns) return null;
  let channels = null;
  if (reach.channels === "same") channels = region.channels;
  else if (reach.channels !== "all" && region.channels) {
    channels = [...new Set(region.channels.flatMap((k) => reach.channels[k]))].sort((p, q) => p - q);
  }
  return { rows, columns, channels };
}

/** The region of the output of `node` that sees a region of one of its inputs. */
export function forth(nodes, node, input, region) {
  const before = nodes[input];
  const { reach } = node;
  if (reach.in_order) return isWhole(before, region) ? whole(node) : reordered(before, node, region);
  const rows = seeing(reach.rows, region.rows);
  const columns = seeing(reach.columns, region.columns);
  if (!rows || !columns) return null;
  let channels = null;
  if (reach.channels === "same") channels = region.channels;
  else if (reach.channels !== "all" && region.channels) {
    const some = new Set(region.channels);
    channels = reach.channels.flatMap((list, f) => (list.some((k) => some.has(k)) ? [f] : []));
    if (!channels.length) return null;
  }
  return { rows, columns, channels };
}

/** Regions by node that a region depends on, itself included: its receptive field. */
export function receptive(nodes, number, region) {
  const found = new Map([[number, region]]);
  for (let k = number; k > 0; k--) {
    if (!found.has(k)) continue;
    for (const input of nodes[k].inputs) {
      const part = back(nodes, nodes[k], input, found.get(k));
      if (part) found.set(input, union(found.get(input), part));
    }
  }
  return found;
}

/** Regions by node that depend on a region, itself included. */
export function feeds(nodes, number, region) {
  const found = new Map([[number, region]]);
  for (let k = number; k < nodes.length; k++) {
    if (!found.has(k)) continue;
    for (const output of nodes[k].outputs) {
      const part = forth(nodes, nodes[output], k, found.get(k));
      if (part) found.set(output, union(found.get(output), part));
    }
  }
  return found;
}

/**
 * Which dy of the next layers reach the gradient at one value of a node: by node the places
 * [row, column, channel], or a region. A max pooling's dy reaches its winner alone.
 */
export function reachedBy(nodes, number, index) {
  const found = new Map();
  for (const output of nodes[number].outputs) {
    const next = nodes[output];
    const region = forth(nodes, next, number, single(index));
    if (!region) continue;
    found.set(output, next.winners ? { ...region, places: won(nodes[number], next, region, index) } : region);
  }
  return found;
}

/** The windows of a max pooling, inside of a region of its output, whose winner is that value. */
function won(before, pool, { rows, columns, channels }, [i, j]) {
  const found = [];
  for (let row = rows[0]; row <= rows[1]; row++) {
    for (let column = columns[0]; column <= columns[1]; column++) {
      for (const k of channels) {
        if (pool.winners[place(pool, [row, column, k])] === i * before.w + j) found.push([row, column, k]);
      }
    }
  }
  return found;
}
