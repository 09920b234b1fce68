// Where everything stands: nodes as columns of small maps, as large as all of them fit.

/** CSS pixels between two columns, around all, and between the lanes of a compound layer. */
const [BETWEEN, EDGE, LANES] = [22, 14, 26];
/** Pixels for a value, largest first; a map is at most BIG wide. */
const SCALES = [14, 10, 8, 6, 5, 4, 3, 2, 1.5, 1, 0.75, 0.5, 0.35, 0.25];
const BIG = 84;
/** Nor is a column of a vector's values, if it can be narrower. */
const NUMBERS = 84;
/** Where there is room, columns move apart by as much. */
const MOST_SPARE = 170;
/** A vector of so many values at most is drawn as bars with names, of this size. */
export const FEW = 16;
const BAR = { width: 58, height: 26 };
/** Between two maps; between two values of a vector. */
const gapOf = (isVector, scale) => (isVector ? (scale >= 3 ? 1 : 0) : scale < 1 ? 1 : 2);

/** How the maps of a node stand in a column of that height: {scale, gap, across, down, w, h}. */
function stack(node, scale, height) {
  const isVector = node.h * node.w === 1;
  const gap = gapOf(isVector, scale);
  const pitch = [node.w * scale + gap, node.h * scale + gap];
  const down = Math.max(1, Math.min(node.c, Math.floor((height + gap) / pitch[1])));
  const across = Math.ceil(node.c / down);
  const used = Math.ceil(node.c / across);
  return { scale, gap, across, w: across * pitch[0] - gap, h: used * pitch[1] - gap, isVector, isBars: false };
}

function bars(node, height) {
  const tall = Math.max(8, Math.min(BAR.height, Math.floor(height / node.c)));
  return { isBars: true, isVector: true, w: BAR.width, h: node.c * tall, tall, scale: tall, gap: 0, across: 1 };
}

/** A node's own choices, the largest first. */
function choices(node, height) {
  if (node.h * node.w === 1 && node.c <= FEW) return [bars(node, height)];
  const all = SCALES.filter((scale) => node.w * scale <= BIG).map((scale) => stack(node, scale, height));
  const low = all.filter(({ h }) => h <= height + 1);
  const narrow = low.filter(({ w, isVector }) => !isVector || w <= NUMBERS);
  const fitting = narrow.length ? narrow : low.slice(-1);
  return fitting.length ? fitting : [stack(node, SCALES.at(-1), height)];
}

/** The lane of each node: 0, and 1 for the other row of a compound layer that has one. */
export function lanes(nodes) {
  const lane = new Map();
  for (const node of nodes) lane.set(node.number, node.row && node.row !== "main" ? 1 : 0);
  return lane;
}

/**
 * Columns: lists of nodes that stand above each other. What runs beside the main row of a block
 * stands below it, from the block's first column on.
 */
export function columnsOf(nodes) {
  const lane = lanes(nodes);
  const columns = [];
  const starts = new Map(); // block: [its first column, how many of the lower lane there are]
  for (const node of nodes) {
    if (!lane.get(node.number)) {
      if (node.block && !starts.has(node.block)) starts.set(node.block, [columns.length, 0]);
      columns.push([node]);
      continue;
    }
    const start = starts.get(node.block) ?? [columns.length, 0];
    starts.set(node.block, start);
    const at = start[0] + start[1]++;
    if (at < columns.length) columns[at].push(node);
    else columns.push([node]);
  }
  return columns;
}

/**
 * The layout for `room` x `height` CSS pixels: {width, height, boxes}; a node's box is its stack's
 * {scale, gap, across, w, h, ...} with its left upper corner {x, y}, and the column {left, right}.
 * least   no column is narrower; where all do not fit then, the whole is wider than the room
 */
export function layout(nodes, room, height, least = 0) {
  const columns = columnsOf(nodes);
  const hasLower = columns.some((column) => column.length > 1);
  const hasLanes = hasLower || nodes.some((node) => node.inputs.length > 1); // a shortcut needs its way
  const upper = hasLanes ? Math.floor((height - LANES) * (hasLower ? 0.64 : 1)) : height;
  const lower = height - LANES - upper;
  const isInBlock = (node) => hasLanes && node.block !== "";
  const heightOf = (column, k) => (column.length > 1 || isInBlock(column[0]) ? [upper, lower][k] : height);
  const options = columns.map((column) => column.map((node, k) => choices(node, heightOf(column, k))));
  const chosen = options.map((column) => column.map(() => 0));
  const widthOf = (c) => Math.max(least, ...chosen[c].map((at, k) => options[c][k][at].w));
  const total = () => columns.reduce((sum, _, c) => sum + widthOf(c), 0) + BETWEEN * (columns.length - 1) + 2 * EDGE;
  shrink(options, chosen, widthOf, () => total() > room);
  grow(chosen, () => total() <= room);
  alike(columns, chosen);

  const boxes = [];
  let x = EDGE;
  const spare = Math.max(0, room - total()) / Math.max(1, columns.length - 1);
  columns.forEach((column, c) => {
    const width = widthOf(c);
    column.forEach((node, k) => {
      const box = options[c][k][chosen[c][k]];
      const tall = heightOf(column, k);
      const top = k ? upper + LANES : 0;
      const [left, right] = [x, x + width];
      boxes[node.number] = { ...box, left, right, top, x: x + (width - box.w) / 2, y: top + (tall - box.h) / 2 };
    });
    x += width + BETWEEN + Math.min(spare, MOST_SPARE);
  });
  return { width: Math.max(x - BETWEEN - Math.min(spare, MOST_SPARE) + EDGE, 0), height, boxes, upper, lanes: LANES };
}

/** Make the widest column smaller, again and again, until all fit or none can be smaller. */
function shrink(options, chosen, widthOf, isTooWide) {
  const stuck = new Set();
  while (isTooWide() && stuck.size < options.length) {
    let widest = -1;
    options.forEach((_, c) => {
      if (!stuck.has(c) && (widest < 0 || widthOf(c) > widthOf(widest))) widest = c;
    });
    const before = chosen[widest].slice();
    const width = widthOf(widest);
    while (widthOf(widest) >= width) {
      const k = options[widest].findIndex((list, row) => {
        const at = chosen[widest][row];
        return at + 1 < list.length && list[at].w >= width;
      });
      if (k < 0) break;
      chosen[widest][k]++;
    }
    if (widthOf(widest) < width) continue;
    chosen[widest].splice(0, before.length, ...before);
    stuck.add(widest);
  }
}

/** Make columns larger again, the smallest first, as far as there is room. */
function grow(chosen, fits) {
  const all = chosen.flatMap((column) => column.map((_, k) => [column, k]));
  let isChanged = true;
  while (isChanged) {
    isChanged = false;
    for (const [column, k] of all.sort(([a, i], [b, j]) => b[j] - a[i])) {
      if (column[k] === 0) continue;
      column[k]--;
      if (fits()) isChanged = true;
      else column[k]++;
    }
  }
}

/** Maps of one size and number look the same in all columns. */
function alike(columns, chosen) {
  const smallest = new Map();
  const every = columns.flatMap((column, c) => column.map((node, k) => [`${node.h} ${node.w} ${node.c} ${node.block}`, c, k]));
  for (const [kind, c, k] of every) smallest.set(kind, Math.max(chosen[c][k], smallest.get(kind) ?? 0));
  for (const [kind, c, k] of every) chosen[c][k] = smallest.get(kind);
}

/** [x, y, width, height] of a value on the canvas. */
export function cell(box, node, [i, j, k]) {
  if (box.isBars) return [box.x, box.y + k * box.tall, box.w, box.tall];
  const [x, y] = corner(box, node, k);
  return [x + j * box.scale, y + i * box.scale, box.scale, box.scale];
}

/** The left upper corner of map k. */
export function corner(box, node, k) {
  const column = k % box.across;
  const row = Math.floor(k / box.across);
  return [box.x + column * (node.w * box.scale + box.gap), box.y + row * (node.h * box.scale + box.gap)];
}

/** Which value of which node is at that point: {number, index}; null where there is none. */
export function find(plan, nodes, x, y) {
  for (const node of nodes) {
    const box = plan.boxes[node.number];
    if (x < box.x || y < box.y || x >= box.x + box.w || y >= box.y + box.h) continue;
    if (box.isBars) return { number: node.number, index: [0, 0, Math.floor((y - box.y) / box.tall)] };
    const pitch = [node.w * box.scale + box.gap, node.h * box.scale + box.gap];
    const [column, row] = [Math.floor((x - box.x) / pitch[0]), Math.floor((y - box.y) / pitch[1])];
    const k = row * box.across + column;
    const j = Math.floor((x - box.x - column * pitch[0]) / box.scale);
    const i = Math.floor((y - box.y - row * pitch[1]) / box.scale);
    if (k >= node.c || j >= node.w || i >= node.h) return null;
    return { number: node.number, index: [i, j, k] };
  }
  return null;
}
