// The landscape's data: an answer of /api/landscape as a graph of nodes, the image the first of them.

/** Half-precision numbers by their bits; made when first needed. */
let halves = null;

function table() {
  halves = new Float32Array(65536);
  for (let bits = 0; bits < 65536; bits++) {
    const sign = bits & 0x8000 ? -1 : 1;
    const exponent = (bits >> 10) & 31;
    const rest = bits & 1023;
    if (exponent === 31) halves[bits] = rest ? NaN : sign * Infinity;
    else if (exponent === 0) halves[bits] = sign * rest * 2 ** -24;
    else halves[bits] = sign * (1 + rest / 1024) * 2 ** (exponent - 15);
  }
}

function bytes(base64) {
  const text = atob(base64);
  const found = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) found[i] = text.charCodeAt(i);
  return found.buffer;
}

/** {shape, scale, half} as {shape, scale, data}: numbers from -1 to 1, to be multiplied by scale. */
export function fromHalf({ shape, scale, half }) {
  if (!halves) table();
  const bits = new Uint16Array(bytes(half));
  const data = new Float32Array(bits.length);
  for (let i = 0; i < bits.length; i++) data[i] = halves[bits[i]];
  return { shape, scale: scale ?? 0, data };
}

/** A shape as (h, w, c): a vector is an image of one place; of other shapes the last axis is c. */
export function asImage(shape) {
  if (shape.length === 3) return shape;
  if (shape.length === 1) return [1, 1, shape[0]];
  const c = shape.at(-1);
  return [1, shape.slice(0, -1).reduce((product, size) => product * size, 1), c];
}

/**
 * The nodes in the order in which they run. Of each:
 *   number, name, short    short: without the compound layer that it is in
 *   h, w, c                its output as an image
 *   inputs, outputs        numbers of the nodes before and after it
 *   y, dy                  {scale, data}, values from -1 to 1; dy is null where there is none
 *   reach, winners, block, row, about, rule, backward, parameters, rms, rms_dy    as answered
 */
export function graph(answer) {
  const [h, w, c] = asImage(answer.image.shape);
  const image = {
    number: 0, name: "image", short: "image", kind: "image", h, w, c, inputs: [], outputs: [],
    shape: answer.image.shape, y: fromHalf(answer.image), dy: fromHalf(answer.dimage),
    block: "", row: "", about: "The digit, 28 × 28 numbers from 0 to 1.", rule: "", parameters: 0,
  };
  const nodes = [image];
  const numbers = new Map([["", 0]]);
  for (const node of answer.nodes) {
    const number = nodes.length;
    const [rows, columns, channels] = asImage(node.y.shape);
    numbers.set(node.name, number);
    const inputs = node.inputs.map((name) => numbers.get(name));
    inputs.forEach((before) => nodes[before].outputs.push(number));
    nodes.push({
      ...node, number, short: node.block ? node.name.split(".").at(-1) : node.name,
      h: rows, w: columns, c: channels, inputs, outputs: [], shape: node.y.shape,
      y: fromHalf(node.y), dy: node.dy && fromHalf(node.dy),
      winners: node.winners && new Int32Array(bytes(node.winners)),
    });
  }
  return nodes;
}

/** Where [row, column, channel] stands in a node's data. */
export const place = ({ w, c }, [i, j, k]) => (i * w + j) * c + k;

/** [row, column, channel] of a place. */
export const indexAt = ({ w, c }, at) => [Math.floor(at / (w * c)), Math.floor(at / c) % w, at % c];

/** The index as the library counts: a vector has one axis. */
export const ownIndex = ({ shape }, [i, j, k]) => (shape.length === 1 ? [k] : [i, j, k]);

/** The index with three axes of one with the library's. */
export const fullIndex = (index) => (index.length === 1 ? [0, 0, index[0]] : index);

/** The place of the largest absolute number. */
export function strongest(data) {
  let best = 0;
  data.forEach((value, i) => {
    if (Math.abs(value) > Math.abs(data[best])) best = i;
  });
  return best;
}
