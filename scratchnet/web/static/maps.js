// Arrays as pictures: every number one square, side by side in tiles, with a legend.

import { count, el, number, place, signed, times } from "./dom.js";

/** CSS pixels between two tiles, and around all. */
const gapAt = (scale) => (scale < 6 ? Math.min(scale, 2) : 4);
/** What numbers beside the tiles take; more than this height is scrolled (style.css). */
const [BESIDE, HIGHEST] = [26, 540];
/** So high are maps together if nothing else is said, and on a window narrower than PHONE in any case. */
const [HIGH, PHONE] = [420, 760];
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
export function colours(isSigned) {
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
  const fitting = (scale) => Math.floor((room - gapAt(scale)) / (w * scale + gapAt(scale)));
  for (let scale = most; scale > least; scale--) {
    const across = columns ?? Math.min(tiles, fitting(scale));
    if (across < 1 || across > fitting(scale)) continue;
    if (Math.ceil(tiles / across) * (h * scale + gapAt(scale)) <= height) return { scale, across };
  }
  return { scale: least, across: columns ?? Math.max(1, Math.min(tiles, fitting(least))) };
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
  const { title, pick = null, most = shape.length === 1 ? 16 : 8, least = 1 } = options;
  const limit = options.limit ?? largest(data);
  const isSigned = options.signed ?? data.some((value) => value < 0);
  const tiles = tiling(shape);
  const height = tiles.tiles > 1 && innerWidth < PHONE ? HIGH : options.height ?? HIGH;
  const room = Math.min(options.room ?? Infinity, roomFor()) - (tiles.tiles > 1 ? BESIDE : 0);
  const { scale, across } = arrange(tiles, room, height, most, least);
  const gap = gapAt(scale);
  const pitch = [tiles.w * scale + gap, tiles.h * scale + gap];
  const down = Math.ceil(tiles.tiles / across);
  const canvas = el("canvas", {
    width: across * pitch[0] + gap, height: down * pitch[1] + gap, role: "img", class: pick ? "pick" : "",
    "aria-label": `${title}: ${times(shape)} numbers, up to ${number(limit, 3)}`,
  });
  /** The left upper corner of a tile on the canvas. */
  const corner = (tile) => [gap + (tile % across) * pitch[0], gap + Math.floor(tile / across) * pitch[1]];
  const style = getComputedStyle(document.documentElement);
  const context = canvas.getContext("2d");
  context.imageSmoothingEnabled = false;
  context.fillStyle = style.getPropertyValue("--map-gap");
  const colour = colours(isSigned);
  for (let t = 0; t < tiles.tiles; t++) {
    const [x, y] = corner(t);
    context.fillRect(x - gap, y - gap, pitch[0] + gap, pitch[1] + gap);
    context.drawImage(paint(array, tiles, t, limit, colour), x, y, tiles.w * scale, tiles.h * scale);
  }

  const isScrolled = canvas.width > room || canvas.height > HIGHEST; // then keys must reach it
  const frame = el("span", { class: "frame", hidden: true });
  const readout = el("span", { class: "readout" });
  const stage = numbered(el("div", { class: "stage" }, canvas, frame), tiles, across, down, pitch, gap);
  const figure = el(
    "figure", { class: "maps" },
    el("figcaption", {}, title),
    el("div", { class: "scroll", ...(isScrolled && !pick ? { tabindex: 0, role: "region", "aria-label": title } : {}) }, stage),
    el("div", { class: "below" }, legend(limit, isSigned), readout),
  );

  const indexAt = (event) => {
    const box = canvas.getBoundingClientRect();
    const [x, y] = [event.clientX - box.left - gap, event.clientY - box.top - gap];
    const column = Math.floor((x % pitch[0]) / scale);
    const row = Math.floor((y % pitch[1]) / scale);
    const tile = Math.floor(y / pitch[1]) * across + Math.floor(x / pitch[0]);
    if (x < 0 || y < 0 || x >= across * pitch[0]) return null;
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
    withKeys(canvas, array, (index, isChosen) => {
      if (isChosen) return pick(index);
      figure.mark(index);
      readout.textContent = `${place(index)} = ${signed(at(array, index))}`;
    });
  }
  const outline = (tile, row, column, h, w) => {
    const [x, y] = corner(tile);
    frame.hidden = false;
    frame.style.left = `${x + column * scale - 2}px`;
    frame.style.top = `${y + row * scale - 2}px`;
    frame.style.width = `${w * scale + 4}px`;
    frame.style.height = `${h * scale + 4}px`;
  };
  figure.mark = (index) => outline(...tiles.find(index), 1, 1);
  /** Frame rows and columns of the first tile. */
  figure.markWindow = (top, left, h, w) => outline(0, top, left, h, w);
  return figure;
}

/** Fewer pixels than these, across and down, leave no room for a number; so wide is a digit of it. */
const [WIDE, TALL, DIGIT] = [20, 12, 7];

/** A stage with the numbers of its tiles beside it: those in the first row, and in the first column. */
function numbered(stage, { tiles, columns }, across, down, pitch, gap) {
  if (tiles < 2) return stage;
  const number_ = (text, side, offset_) => {
    const node = el("span", {}, String(text));
    node.style[side] = `${offset_}px`;
    return node;
  };
  const every = Math.ceil(WIDE / pitch[0]);
  const each = Math.ceil(TALL / pitch[1]);
  const top = Array.from({ length: Math.ceil(across / every) }, (_, k) => number_(k * every, "left", gap + k * every * pitch[0]));
  const left = Array.from({ length: Math.ceil(down / each) }, (_, k) =>
    number_(columns ? k * each : k * each * across, "top", gap + k * each * pitch[1]));
  const rows = el("span", { class: "down", "aria-hidden": "true" }, ...(down > 1 ? left : []));
  if (down > 1) rows.style.minWidth = `${6 + DIGIT * left.at(-1).textContent.length}px`;
  return el("div", { class: "numbered" }, el("span", { class: "across", "aria-hidden": "true" }, ...top), rows, stage);
}

/** Arrow keys move over the numbers, with Shift from tile to tile; `say(index, isChosen)`. */
function withKeys(canvas, { shape }, say) {
  canvas.tabIndex = 0;
  const index = shape.map(() => 0);
  const [down, across] = [0, shape.length > 2 ? 1 : 0];
  canvas.addEventListener("keydown", (event) => {
    const by = { ArrowUp: -1, ArrowLeft: -1, ArrowDown: 1, ArrowRight: 1 }[event.key];
    if (!by && event.key !== "Enter" && event.key !== " ") return;
    event.preventDefault();
    if (by) {
      const isAcross = event.key === "ArrowLeft" || event.key === "ArrowRight";
      const axis = event.shiftKey ? (isAcross || shape.length < 4 ? shape.length - 1 : 2) : isAcross ? across : down;
      index[axis] = Math.min(shape[axis] - 1, Math.max(0, index[axis] + by));
    }
    say(index.slice(), !by);
  });
}

/** One tile, a pixel for each number; where there is none it stays transparent. */
function paint(array, tiles, tile, limit, colour) {
  const canvas = new OffscreenCanvas(tiles.w, tiles.h);
  const context = canvas.getContext("2d");
  const pixels = context.createImageData(tiles.w, tiles.h);
  for (let i = 0; i < tiles.h; i++) {
    for (let j = 0; j < tiles.w; j++) {
      const index = tiles.index(tile, i, j);
      const value = index && at(array, index);
      if (index === null || Number.isNaN(value)) continue;
      pixels.data.set([...colour(limit ? value / limit : 0), 255], 4 * (i * tiles.w + j));
    }
  }
  context.putImageData(pixels, 0, 0);
  return canvas;
}

/** The colours between the ends of the scale; kind: "" for maps, "over" for what lies over a digit. */
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
  const picture = paint(values, tiling(values.shape), 0, 255, colours(false));
  canvas.getContext("2d").drawImage(picture, 0, 0);
}
