// Drawing the landscape: maps, what of them is there at a time, connections, and frames around regions.

import { place } from "./landscape_data.js";
import { cell, corner } from "./landscape_layout.js";
import { made, sentBack } from "./landscape_time.js";
import { colours } from "./maps.js";

const STEPS = 255;
/** How strongly the forward values show where gradients are to come. */
const FAINT = 0.28;

const style = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

/** Colours of the theme, looked up once for a painting. */
export function palette() {
  const table = (isSigned) => {
    const colour = colours(isSigned);
    const found = new Uint32Array(2 * STEPS + 1);
    for (let at = -STEPS; at <= STEPS; at++) {
      const [r, g, b] = isSigned || at > 0 ? colour(at / STEPS) : [0, 0, 0];
      found[at + STEPS] = (255 << 24) | (Math.round(b) << 16) | (Math.round(g) << 8) | Math.round(r);
    }
    return found;
  };
  const names = ["--raised", "--line", "--edge", "--text", "--muted", "--surface", "--map-above", "--map-below", "--see", "--feed", "--chosen", "--accent", "--map-gap"];
  return { grey: table(false), signed: table(true), ...Object.fromEntries(names.map((name) => [name, style(name)])) };
}

/** All maps of a node below each other, a pixel for each value. */
function atlas({ h, w, c }, data, table) {
  const canvas = new OffscreenCanvas(w, h * c);
  const context = canvas.getContext("2d");
  const image = context.createImageData(w, h * c);
  const pixels = new Uint32Array(image.data.buffer);
  for (let at = 0, i = 0; i < h; i++) {
    for (let j = 0; j < w; j++) {
      for (let k = 0; k < c; k++, at++) {
        const value = data[at];
        if (value === value) pixels[(k * h + i) * w + j] = table[Math.round(value * STEPS) + STEPS];
      }
    }
  }
  context.putImageData(image, 0, 0);
  return canvas;
}

/** Whether values are shown in two colours. */
const isSigned = (node) => node.y.data.some((value) => value < 0);

/** A picture of a node's values, or of its gradients: all maps below each other. */
export function atlasOf(node, kind, colour) {
  node.atlases ??= {};
  if (node.atlases.colour !== colour) node.atlases = { colour };
  node.atlases[kind] ??= kind === "dy"
    ? atlas(node, node.dy.data, colour.signed)
    : atlas(node, node.y.data, isSigned(node) ? colour.signed : colour.grey);
  return node.atlases[kind];
}

/**
 * The whole landscape at a time.
 *   scene   {nodes, plan, colour, names, answer, isDust}; isDust: gradients are not to be seen
 */
export function paint(context, scene, time) {
  const { nodes, plan } = scene;
  const last = nodes.length - 1;
  context.clearRect(0, 0, plan.width, plan.height);
  context.imageSmoothingEnabled = false;
  connections(context, scene);
  const isBack = time > last + 1;
  for (const node of nodes) {
    const forward = made(time, node.number);
    const back = isBack ? sentBack(time, last, node.number) : 0;
    if (plan.boxes[node.number].isBars) paintBars(context, scene, node, forward, back, isBack);
    else paintMaps(context, scene, node, forward, back, isBack);
  }
}

function paintMaps(context, scene, node, forward, back, isBack) {
  const box = scene.plan.boxes[node.number];
  const fraction = (share) => Math.round(share * node.h * node.w * (box.isVector ? node.c : 1));
  context.fillStyle = scene.colour["--raised"];
  if (forward < 1) each(box, node, (x, y, w, h) => context.fillRect(x, y, w, h));
  if (forward > 0) {
    outline(context, scene, box, node);
    context.globalAlpha = isBack ? FAINT : 1;
    reveal(context, box, node, atlasOf(node, "y", scene.colour), fraction(forward), false);
    context.globalAlpha = 1;
  }
  if (!back || !node.dy) return;
  context.fillStyle = scene.colour["--surface"];
  if (back === 1) {
    context.fillRect(box.x - 1, box.y - 1, box.w + 2, box.h + 2);
    outline(context, scene, box, node);
  }
  if (scene.isDust) return each(box, node, (x, y, w, h) => {
    context.fillStyle = scene.colour["--raised"];
    context.fillRect(x, y, w, h);
  });
  reveal(context, box, node, atlasOf(node, "dy", scene.colour), fraction(back), true);
}

/** A line around every map: what is 0 has nearly the ground's colour. */
function outline(context, { colour }, box, node) {
  if (box.isVector) return;
  context.strokeStyle = colour["--line"];
  context.lineWidth = 1;
  each(box, node, (x, y, w, h) => context.strokeRect(x - 0.5, y - 0.5, w + 1, h + 1));
}

function each(box, node, draw) {
  for (let k = 0; k < node.c; k++) draw(...corner(box, node, k), node.w * box.scale, node.h * box.scale);
}

/** The first (or the last) `count` values of every map; of a vector the first of all its values. */
function reveal(context, box, node, picture, count, isReversed) {
  const { h, w, c } = node;
  const { scale } = box;
  for (let k = 0; k < c; k++) {
    const [x, y] = corner(box, node, k);
    if (box.isVector) {
      if (isReversed ? k < c - count : k >= count) continue;
      context.drawImage(picture, 0, k, 1, 1, x, y, scale, scale);
      continue;
    }
    const [rows, rest] = [Math.floor(count / w), count % w];
    const top = isReversed ? h - rows : 0;
    if (rows) context.drawImage(picture, 0, k * h + top, w, rows, x, y + top * scale, w * scale, rows * scale);
    if (!rest) continue;
    const [row, left] = isReversed ? [h - rows - 1, w - rest] : [rows, 0];
    context.drawImage(picture, left, k * h + row, rest, 1, x + left * scale, y + row * scale, rest * scale, scale);
  }
}

/** A few values with names: numbers of either sign around a middle, or shares from the left. */
function paintBars(context, scene, node, forward, back, isBack) {
  const box = scene.plan.boxes[node.number];
  const { colour, names, answer } = scene;
  const isLast = node.number === scene.nodes.length - 1;
  const showsBack = isBack && back > 0 && node.dy;
  const { data, scale } = showsBack ? node.dy : node.y;
  const sided = showsBack || isSigned(node);
  const most = isLast && !showsBack ? 1 / (scale || 1) : 1;
  const isGradientOfScores = showsBack && node.c === answer.probabilities.length && scale <= 1;
  const limit = isGradientOfScores ? 1 / (scale || 1) : most; // a share minus 0 or 1 has a size of its own
  const shown = Math.round((showsBack ? back : forward) * node.c);
  context.font = `${Math.min(12, box.tall - 2)}px ${style("--sans")}`;
  context.textBaseline = "middle";
  for (let k = 0; k < node.c; k++) {
    const y = box.y + k * box.tall;
    const left = box.x + 15;
    const room = box.w - 15;
    context.fillStyle = colour["--raised"];
    context.fillRect(left, y + 3, room, box.tall - 6);
    context.fillStyle = isLast && k === answer.label ? colour["--text"] : colour["--muted"];
    context.fillText(names && node.c === names.length ? names[k] : String(k), box.x, y + box.tall / 2, 13);
    if (k >= shown) continue;
    const value = Math.max(-1, Math.min(1, data[k] / limit));
    const above = sided || showsBack ? colour["--map-above"] : colour["--edge"]; // a share has no sign
    context.globalAlpha = isBack && !showsBack ? FAINT : 1;
    context.fillStyle = value < 0 ? colour["--map-below"] : above;
    if (sided) context.fillRect(left + room / 2, y + 3, (value * room) / 2, box.tall - 6);
    else context.fillRect(left, y + 3, value * room, box.tall - 6);
    context.globalAlpha = 1;
  }
}

// ---- connections ----------------------------------------------------------------------------------

function connections(context, { nodes, plan, colour }) {
  context.strokeStyle = colour["--edge"];
  context.lineWidth = 1;
  for (const node of nodes) {
    node.inputs.forEach((before) => {
      const [from, to] = [plan.boxes[before], plan.boxes[node.number]];
      context.beginPath();
      if (isPast(plan, nodes, before, node)) shortcut(context, plan, from, to);
      else straight(context, from, to);
      context.stroke();
    });
  }
}

/** Whether a connection leads past other columns. */
function isPast(plan, nodes, before, node) {
  const [from, to] = [plan.boxes[before], plan.boxes[node.number]];
  return nodes.some(({ number }) => {
    const { left, right } = plan.boxes[number];
    return left > from.right - 1 && right < to.left + 1;
  });
}

function straight(context, from, to) {
  const [x0, y0] = [from.x + from.w + 3, from.y + from.h / 2];
  const [x1, y1] = [to.x - 3, to.y + to.h / 2];
  const middle = (x0 + x1) / 2;
  context.moveTo(x0, y0);
  context.bezierCurveTo(middle, y0, middle, y1, x1, y1);
  arrow(context, x1, y1);
}

function arrow(context, x, y) {
  context.moveTo(x - 4, y - 3);
  context.lineTo(x, y);
  context.lineTo(x - 4, y + 3);
}

/** Down beside the node, along below the main row, and up again; from or to the lower lane, half of it. */
function shortcut(context, plan, from, to) {
  const isLow = (box) => box.top > 0;
  const way = plan.upper + plan.lanes / 2;
  const x0 = from.right + 8;
  const x1 = to.left - 8;
  const y0 = from.y + from.h / 2;
  const y1 = to.y + to.h / 2;
  context.moveTo(from.x + from.w + 3, y0);
  context.lineTo(x0, y0);
  const along = isLow(from) ? y0 : isLow(to) ? y1 : way;
  context.lineTo(x0, along);
  context.lineTo(x1, along);
  context.lineTo(x1, y1);
  context.lineTo(to.x - 3, y1);
  arrow(context, to.x - 3, y1);
}

// ---- frames ---------------------------------------------------------------------------------------

/** A frame around a region, in every map that it has; around all maps where it is all of them. */
export function frame(context, scene, number, region, colour, width = 1.5) {
  const node = scene.nodes[number];
  const box = scene.plan.boxes[number];
  const { rows, columns, channels } = region;
  context.strokeStyle = colour;
  context.lineWidth = width;
  const isAll = rows[0] === 0 && columns[0] === 0 && rows[1] === node.h - 1 && columns[1] === node.w - 1;
  if (isAll && (!channels || channels.length === node.c)) {
    context.strokeRect(box.x - 3, box.y - 3, box.w + 6, box.h + 6);
    return;
  }
  const list = channels ?? Array.from({ length: node.c }, (_, k) => k);
  for (const k of list) {
    const [x, y] = cell(box, node, [rows[0], columns[0], k]);
    if (box.isBars) context.strokeRect(x - 1, y + 1, box.w + 2, box.tall - 2);
    else {
      const [w, h] = [(columns[1] - columns[0] + 1) * box.scale, (rows[1] - rows[0] + 1) * box.scale];
      const air = width / 2;
      context.strokeRect(x - air, y - air, w + width, h + width);
    }
  }
}

/** A value as a filled square that can be seen however small it is. */
export function dot(context, scene, number, index, colour) {
  const node = scene.nodes[number];
  const [x, y, w, h] = cell(scene.plan.boxes[number], node, index);
  const [wide, tall] = [Math.max(w, 3), Math.max(h, 3)];
  context.fillStyle = colour;
  context.fillRect(x + (w - wide) / 2, y + (h - tall) / 2, wide, tall);
}

/** The pixels that won the windows of a max pooling at [row, column], one in each map. */
export function winnersAt(scene, number, [i, j]) {
  const pool = scene.nodes[number];
  const before = scene.nodes[pool.inputs[0]];
  return Array.from({ length: pool.c }, (_, k) => {
    const at = pool.winners[place(pool, [i, j, k])];
    return [Math.floor(at / before.w), at % before.w, k];
  });
}
