// Arrays as pictures: every number one square, side by side in tiles, with a legend.

import { count, el, number, place, signed, times } from "./dom.js";

const GAP = 1;
/** Vectors as short as this are bars with their numbers (see bars.js), not pictures. */
export const SHORT = 16;

/**
 * How the axes of an array become tiles.
 *   (h, w, c)          c maps                 (kh, kw, c, f)   filters: a row for each input channel
 *   (inputs, units)    a tile for each unit, its inputs wrapped    (n)   one tile, wrapped
 * Returns the tiles' number and size; `index(tile, row, column)`, null where there is no number;
 * and its inverse `find(index)`.
 */
function tiling(shape) {
  const [a, b, c, d] = shape;
  switch (shape.length) {
    case 4:
      return {
        tiles: c * d, h: a, w: b, columns: c > 1 ? d : null,
        index: (t, i, j) => [i, j, Math.floor(t / d), t % d],
        find: ([i, j, k, f]) => [k * d + f, i, j],
      };
    case 3:
      return {
        tiles: c, h: a, w: b, columns: null,
        index: (t, i, j) => [i, j, t],
        find: ([i, j, t]) => [t, i, j],
      };
    default: {
      const w = Math.ceil(Math.sqrt(a));
      return {
        tiles: b ?? 1, h: Math.ceil(a / w), w, columns: null,
        index: (t, i, j) => (i * w + j < a ? [i * w + j, ...(b ? [t] : [])] : null),
        find: ([n, t = 0]) => [t, Math.floor(n / w), n % w],
      };
    }
  }
}

export function offset(shape, index) {
  return index.reduce((sum, i, axis) => sum * shape[axis] + i, 0);
}

export const at = (array, index) => array.data[offset(array.shape, index)];

/** (h, w) as one map. */
export const image = ({ shape, data }) => ({ shape: [...shape, 1], data });

/** Map number `channel` of (h, w, c), alone. */
export function channelOf({ shape: [h, w, c], data }, channel) {
  return { shape: [h, w, 1], data: data.filter((_, i) => i % c === channel) };
}

export function largest(data) {
  return data.reduce((most, value) => (Math.abs(value) > most ? Math.abs(value) : most), 0);
}

/** Red, green, blue of a value: grey from 0 to limit, or two colours that meet at 0. */
function colours(isSigned) {
  const style = getComputedStyle(document.documentElement);
  const rgb = (name) =>
    style.getPropertyValue(name).trim().match(/\w\w/g).map((pair) => parseInt(pair, 16));
  const mix = (from, to, share) => from.map((level, k) => level + (to[k] - level) * share);
  const [zero, below, above] = isSigned
    ? ["--map-zero", "--map-below", "--map-above"].map(rgb)
    : [[0, 0, 0], null, [255, 255, 255]];
  return (t) => (t < 0 ? mix(zero, below, Math.min(-t, 1)) : mix(zero, above, Math.min(t, 1)));
}

/** The largest whole scale at which all tiles fit, and how many of them stand in a row. */
function arrange({ tiles, h, w, columns }, room, height, most, least) {
  for (let scale = most; scale > least; scale--) {
    const fitting = Math.min(tiles, Math.floor((room / scale - GAP) / (w + GAP)));
    const across = columns ?? fitting;
    if (across < 1 || across > fitting) continue;
    if (Math.ceil(tiles / across) * (h + GAP) * scale <= height) return { scale, across };
  }
  const fitting = Math.max(1, Math.floor((room / least - GAP) / (w + GAP)));
  return { scale: least, across: columns ?? Math.min(tiles, fitting) };
}

/**
 * A picture of an array, as a <figure>.
 *   title    what it is; also says it to those who do not see it
 *   limit    the value of the strongest colour; the largest absolute value when left out
 *   signed   two colours around 0; when left out, where there is a number below 0
 *   pick     called with the index of a number that was chosen
 *   room, height   in CSS pixels;   most, least   pixels for a number
 * Its `mark(index)` frames a number.
 */
export function maps(array, options) {
  const { shape, data } = array;
  const { title, pick = null, height = 420, most = shape.length === 1 ? 16 : 8, least = 1 } = options;
  const limit = options.limit ?? largest(data);
  const isSigned = options.signed ?? data.some((value) => value < 0);
  const tiles = tiling(shape);
  const room = Math.min(options.room ?? Infinity, roomFor());
  const { scale, across } = arrange(tiles, room, height, most, least);
  const down = Math.ceil(tiles.tiles / across);
  const width = across * (tiles.w + GAP) + GAP;
  const rows = down * (tiles.h + GAP) + GAP;

  const canvas = el("canvas", {
    width, height: rows, role: "img", class: pick ? "pick" : "",
    "aria-label": `${title}: ${times(shape)} numbers, up to ${number(limit, 3)}`,
  });
  canvas.style.width = `${width * scale}px`;
  canvas.style.height = `${rows * scale}px`;
  paint(canvas, array, tiles, across, GAP, limit, isSigned);

  const frame = el("span", { class: "frame", hidden: true });
  const readout = el("span", { class: "readout" });
  const stage = el("div", { class: "stage" }, canvas, frame);
  const figure = el(
    "figure", { class: "maps" },
    el("figcaption", {}, title),
    el("div", { class: "scroll" }, stage),
    el("div", { class: "below" }, legend(limit, isSigned), readout),
  );

  const indexAt = (event) => {
    const box = canvas.getBoundingClientRect();
    const x = Math.floor((event.clientX - box.left) / scale) - GAP;
    const y = Math.floor((event.clientY - box.top) / scale) - GAP;
    const column = x % (tiles.w + GAP);
    const row = y % (tiles.h + GAP);
    const tile = Math.floor(y / (tiles.h + GAP)) * across + Math.floor(x / (tiles.w + GAP));
    if (x < 0 || y < 0 || x >= width - GAP) return null;
    if (column >= tiles.w || row >= tiles.h || tile >= tiles.tiles) return null;
    return tiles.index(tile, row, column);
  };
  canvas.addEventListener("pointermove", (event) => {
    const index = indexAt(event);
    readout.textContent = index ? `${place(index)} = ${signed(at(array, index))}` : "";
  });
  canvas.addEventListener("pointerleave", () => (readout.textContent = ""));
  if (pick) {
    canvas.addEventListener("click", (event) => {
      const index = indexAt(event);
      if (index) pick(index);
    });
  }
  figure.mark = (index) => {
    const [tile, row, column] = tiles.find(index);
    const x = GAP + (tile % across) * (tiles.w + GAP) + column;
    const y = GAP + Math.floor(tile / across) * (tiles.h + GAP) + row;
    outline(frame, [x, y, 1, 1], scale);
  };
  /** Frame rows and columns of the first tile: [top, left, height, width]. */
  figure.markWindow = ([top, left, h, w]) => outline(frame, [GAP + left, GAP + top, w, h], scale);
  return figure;
}

function outline(frame, [x, y, w, h], scale) {
  frame.hidden = false;
  frame.style.left = `${x * scale - 2}px`;
  frame.style.top = `${y * scale - 2}px`;
  frame.style.width = `${w * scale + 4}px`;
  frame.style.height = `${h * scale + 4}px`;
}

function paint(canvas, array, tiles, across, gap, limit, isSigned) {
  const context = canvas.getContext("2d", { willReadFrequently: true });
  const style = getComputedStyle(document.documentElement);
  context.fillStyle = style.getPropertyValue("--map-gap");
  for (let t = 0; gap && t < tiles.tiles; t++) {
    const left = (t % across) * (tiles.w + gap);
    context.fillRect(left, Math.floor(t / across) * (tiles.h + gap), tiles.w + 2 * gap, tiles.h + 2 * gap);
  }
  const pixels = context.getImageData(0, 0, canvas.width, canvas.height);
  const colour = colours(isSigned);
  for (let t = 0; t < tiles.tiles; t++) {
    const left = gap + (t % across) * (tiles.w + gap);
    const top = gap + Math.floor(t / across) * (tiles.h + gap);
    for (let i = 0; i < tiles.h; i++) {
      for (let j = 0; j < tiles.w; j++) {
        const index = tiles.index(t, i, j);
        const value = index && at(array, index);
        if (index === null || Number.isNaN(value)) continue;
        const rgb = colour(limit ? value / limit : 0);
        pixels.data.set([...rgb, 255], 4 * ((top + i) * canvas.width + left + j));
      }
    }
  }
  context.putImageData(pixels, 0, 0);
}

/** The colours between the ends of the scale; kind: "" for maps, "heat" for what lies over a digit. */
export function legend(limit, isSigned, kind = "") {
  const low = isSigned ? number(-limit, 2) : "0";
  const colours = el("i", { class: `${isSigned ? "signed" : "grey"} ${kind}` });
  return el("span", { class: "legend", "aria-hidden": "true" }, low, colours, number(limit, 2));
}

/** What a card leaves for a picture. */
function roomFor() {
  const style = getComputedStyle(document.documentElement);
  return document.querySelector("main").clientWidth - parseFloat(style.getPropertyValue("--inset"));
}

/** Short text on an array's size: "32 maps of 26 × 26". */
export function describe(shape) {
  if (shape.length === 3) {
    const [h, w, c] = shape;
    return `${count(c)} ${c === 1 ? "map" : "maps"} of ${h} × ${w}`;
  }
  return `${times(shape.map(count))} ${shape.length === 1 ? "values" : "numbers"}`;
}

/** 28 rows of 28 levels onto a canvas of that size. */
export function paintDigit(canvas, rows) {
  const values = { shape: [28, 28, 1], data: Float32Array.from(rows.flat()) };
  paint(canvas, values, tiling(values.shape), 1, 0, 255, false);
}
