// A value's own map, large, and beside it the maps that it is made of: what a finger cannot point at.

import { el } from "./dom.js";
import { back, single } from "./landscape_reach.js";
import { atlasOf } from "./landscape_paint.js";

const [SIDE, MOST] = [132, 22];

/** Which map of an input to show: the value's own where each map is by itself, else the strongest part. */
function channelFor(node, input, region, chosen) {
  if (region.channels?.length === 1) return region.channels[0];
  if (node.reach.channels === "same") return chosen;
  let [best, most] = [0, -1];
  for (const k of region.channels ?? Array.from({ length: input.c }, (_, at) => at)) {
    let sum = 0;
    for (let i = region.rows[0]; i <= region.rows[1]; i++) {
      for (let j = region.columns[0]; j <= region.columns[1]; j++) {
        sum += Math.abs(input.y.data[(i * input.w + j) * input.c + k]);
      }
    }
    if (sum > most) [best, most] = [k, sum];
  }
  return best;
}

function picture(scene, node, kind, k, region, stroke) {
  const scale = Math.min(MOST, SIDE / Math.max(node.h, node.w));
  const sharp = Math.min(2, devicePixelRatio);
  const [width, height] = [node.w * scale, node.h * scale];
  const what = kind === "dy" ? "gradient, " : "";
  const canvas = el("canvas", { width: width * sharp, height: height * sharp, role: "img", "aria-label": `${what}map ${k} of ${node.name}` });
  canvas.style.width = `${width}px`;
  canvas.style.height = `${height}px`;
  const context = canvas.getContext("2d");
  context.scale(sharp, sharp);
  context.imageSmoothingEnabled = false;
  context.drawImage(atlasOf(node, kind, scene.colour), 0, k * node.h, node.w, node.h, 0, 0, width, height);
  context.strokeStyle = scene.colour[stroke];
  context.lineWidth = 3;
  const { rows, columns } = region;
  context.strokeRect(
    columns[0] * scale + 1.5, rows[0] * scale + 1.5,
    (columns[1] - columns[0] + 1) * scale - 3, (rows[1] - rows[0] + 1) * scale - 3,
  );
  return el("figure", {}, el("figcaption", {}, `${node.short}, map ${k}`), canvas);
}

/** Figures for a chosen value; none for a vector, which has no map. */
export function loupe(scene, { number, index }, isBack) {
  const node = scene.nodes[number];
  if (node.h * node.w === 1) return [];
  const kind = isBack && node.dy && !scene.isDust ? "dy" : "y";
  const found = [];
  for (const before of isBack ? [] : node.inputs.slice(0, 1)) {
    const input = scene.nodes[before];
    const region = back(scene.nodes, node, before, single(index));
    if (region && input.h * input.w > 1) {
      found.push(picture(scene, input, "y", channelFor(node, input, region, index[2]), region, "--see"));
    }
  }
  found.push(picture(scene, node, kind, index[2], { rows: [index[0], index[0]], columns: [index[1], index[1]] }, "--chosen"));
  return found;
}
