// The landscape's geometry: what sees what, where everything stands, and when.

import assert from "node:assert/strict";
import { test } from "node:test";

import { fromHalf, fullIndex, graph, indexAt, ownIndex, place, strongest } from "../static/landscape_data.js";
import { cell, columnsOf, find, layout } from "../static/landscape_layout.js";
import { back, feeds, forth, reachedBy, receptive, single, union, whole } from "../static/landscape_reach.js";
import { backAt, end, forwardEnd, made, moment, placeAt, sentBack } from "../static/landscape_time.js";

const base64 = (array) => Buffer.from(array.buffer).toString("base64");
const half = (...shape) => {
  const bits = new Uint16Array(shape.reduce((product, size) => product * size, 1)).fill(0x3c00); // ones
  return { shape, scale: 2, half: base64(bits) };
};
const spans = (count, first, size) => Array.from({ length: count }, (_, i) => [first(i), first(i) + size - 1, 1]);
const windows = (count, stride, size) => spans(count, (i) => i * stride, size);
const square = (count, stride, size, channels) => ({ rows: windows(count, stride, size), columns: windows(count, stride, size), channels, in_order: false });
const node = (name, inputs, shape, reach, more = {}) => ({ name, inputs, block: "", row: "", y: half(...shape), dy: half(...shape), reach, winners: null, ...more });

/** 6 x 6 -> conv 3 x 3 -> 4 x 4 x 3 -> pool 2 -> 2 x 2 x 3 -> flatten 12 -> dense 10 */
function small() {
  const winners = new Int32Array(12).fill(0);
  winners[0] = 5; // of map 0 at [0, 0]: row 1, column 1 of 4 x 4
  const all = { rows: [[0, 0, 1]], columns: [[0, 0, 1]], channels: "all", in_order: false };
  return graph({
    image: half(6, 6, 1), dimage: half(6, 6, 1),
    nodes: [
      node("conv", [""], [4, 4, 3], square(4, 1, 3, "all")),
      node("pool", ["conv"], [2, 2, 3], square(2, 2, 2, "same"), { winners: base64(winners) }),
      node("flatten", ["pool"], [12], { rows: [], columns: [], channels: "same", in_order: true }),
      node("dense", ["flatten"], [10], all),
    ],
  });
}

test("half precision is read bit by bit", () => {
  const bits = new Uint16Array([0, 0x8000, 0x3c00, 0xbc00, 0x3555, 0x0001, 0x7c00, 0x7e00, 0x3800]);
  const { data } = fromHalf({ shape: [9], scale: 1, half: base64(bits) });
  assert.deepEqual([...data.slice(0, 4)], [0, -0, 1, -1]);
  assert.ok(Math.abs(data[4] - 1 / 3) < 1e-3);
  assert.equal(data[5], 2 ** -24);
  assert.equal(data[6], Infinity);
  assert.ok(Number.isNaN(data[7]));
  assert.equal(data[8], 0.5);
});

test("a graph knows what stands before and after each node", () => {
  const nodes = small();
  assert.deepEqual(nodes.map(({ inputs }) => inputs), [[], [0], [1], [2], [3]]);
  assert.deepEqual(nodes.map(({ outputs }) => outputs), [[1], [2], [3], [4], []]);
  assert.deepEqual([nodes[3].h, nodes[3].w, nodes[3].c], [1, 1, 12]);
});

test("places and indices are each other's inverse", () => {
  const [image, conv] = small();
  for (const at of [0, 7, 35]) assert.equal(place(image, indexAt(image, at)), at);
  assert.deepEqual(indexAt(conv, place(conv, [2, 3, 1])), [2, 3, 1]);
  assert.deepEqual(fullIndex([4]), [0, 0, 4]);
  assert.deepEqual(ownIndex(small()[3], [0, 0, 4]), [4]);
  assert.equal(strongest(Float32Array.from([1, -3, 2])), 1);
});

test("a receptive field grows back to the image", () => {
  const nodes = small();
  const field = receptive(nodes, 2, single([0, 1, 2]));
  assert.deepEqual(field.get(1), { rows: [0, 1], columns: [2, 3], channels: [2] });
  assert.deepEqual(field.get(0), { rows: [0, 3], columns: [2, 5], channels: null });
  assert.deepEqual(receptive(nodes, 4, single([0, 0, 3])).get(0), { rows: [0, 5], columns: [0, 5], channels: null });
});

test("what a value feeds goes on to every class", () => {
  const nodes = small();
  const fed = feeds(nodes, 0, single([0, 0, 0]));
  assert.deepEqual(fed.get(1), { rows: [0, 0], columns: [0, 0], channels: null });
  assert.deepEqual(fed.get(2), { rows: [0, 0], columns: [0, 0], channels: null });
  assert.deepEqual(fed.get(3).channels, [0, 1, 2]);
  assert.deepEqual(fed.get(4).channels, null);
});

test("flattening keeps single values apart", () => {
  const nodes = small();
  assert.deepEqual(forth(nodes, nodes[3], 2, single([1, 0, 2])).channels, [8]);
  assert.deepEqual(back(nodes, nodes[3], 2, single([0, 0, 8])), { rows: [1, 1], columns: [0, 0], channels: [2] });
  assert.deepEqual(back(nodes, nodes[3], 2, whole(nodes[3])), whole(nodes[2]));
});

test("a max pooling's dy reaches its winner alone", () => {
  const nodes = small();
  assert.deepEqual(reachedBy(nodes, 1, [1, 1, 0]).get(2).places, [[0, 0, 0]]);
  assert.deepEqual(reachedBy(nodes, 1, [0, 1, 0]).get(2).places, []);
  assert.deepEqual(reachedBy(nodes, 0, [0, 0, 0]).get(1), { rows: [0, 0], columns: [0, 0], channels: null });
});

test("padding is seen by nobody, and a window with gaps not between them", () => {
  const nodes = small();
  const reach = { rows: [[0, -1, 1], [0, 0, 1]], columns: [[0, -1, 1], [0, 0, 1]], channels: "same", in_order: false };
  assert.equal(back(nodes, { ...nodes[1], reach }, 0, single([0, 1, 0])), null);
  const gaps = { ...square(1, 1, 5, "all"), rows: [[0, 4, 2]], columns: [[0, 4, 2]] };
  assert.equal(forth(nodes, { ...nodes[1], reach: gaps }, 0, single([1, 0, 0])), null);
  assert.notEqual(forth(nodes, { ...nodes[1], reach: gaps }, 0, single([2, 4, 0])), null);
});

test("a table of connections says which maps see which", () => {
  const nodes = small();
  const table = { ...nodes[1], reach: { ...nodes[1].reach, channels: [[0, 1], [2]] } };
  assert.deepEqual(back(nodes, table, 1, single([0, 0, 0])).channels, [0, 1]);
  assert.deepEqual(forth(nodes, table, 1, single([0, 0, 2])).channels, [1]);
});

test("a union holds both", () => {
  assert.deepEqual(union(single([0, 1, 2]), single([3, 0, 1])), { rows: [0, 3], columns: [0, 1], channels: [1, 2] });
  assert.deepEqual(union(null, single([0, 0, 0])), single([0, 0, 0]));
});

for (const room of [340, 700, 1160]) {
  test(`all columns fit into ${room} pixels, and a point finds the value that is drawn there`, () => {
    const nodes = small();
    const plan = layout(nodes, room, 380);
    assert.ok(plan.width <= room + 1, `${plan.width}`);
    for (const one of nodes) {
      const box = plan.boxes[one.number];
      assert.ok(box.y >= 0 && box.y + box.h <= 381);
      for (const index of [[0, 0, 0], [one.h - 1, one.w - 1, one.c - 1]]) {
        const [x, y, w, h] = cell(box, one, index);
        assert.deepEqual(find(plan, nodes, x + w / 2, y + h / 2), { number: one.number, index });
      }
    }
    assert.equal(find(plan, nodes, 1, 1), null);
  });
}

test("what runs beside the main row stands below it", () => {
  const [, conv] = small();
  const reach = conv.reach;
  const nodes = graph({
    image: half(6, 6, 1), dimage: half(6, 6, 1),
    nodes: [
      node("r.main.a", [""], [4, 4, 3], reach, { block: "r", row: "main" }),
      node("r.main.b", ["r.main.a"], [4, 4, 3], reach, { block: "r", row: "main" }),
      node("r.shortcut.c", [""], [4, 4, 3], reach, { block: "r", row: "shortcut" }),
      node("r", ["r.main.b", "r.shortcut.c"], [4, 4, 3], square(4, 1, 1, "same")),
    ],
  });
  assert.deepEqual(columnsOf(nodes).map((column) => column.map(({ number }) => number)), [[0], [1, 3], [2], [4]]);
  const { boxes } = layout(nodes, 900, 380);
  assert.ok(boxes[3].y >= boxes[1].y + boxes[1].h);
  assert.deepEqual([...receptive(nodes, 4, single([0, 0, 1])).keys()].sort(), [0, 1, 2, 3, 4]);
});

test("time runs forward, over the loss, and back", () => {
  const last = 4;
  assert.deepEqual(moment(0, last), { pass: "forward", number: 0, share: 1 });
  assert.deepEqual(moment(2.25, last), { pass: "forward", number: 3, share: 0.25 });
  assert.equal(moment(4.5, last).pass, "loss");
  assert.deepEqual(moment(5.5, last), { pass: "backward", number: 4, share: 0.5 });
  assert.deepEqual(moment(end(last), last), { pass: "backward", number: 0, share: 1 });
  for (let k = 0; k <= last; k++) {
    assert.equal(made(forwardEnd(last), k), 1);
    assert.equal(sentBack(backAt(last, k), last, k), 1);
    assert.equal(sentBack(backAt(last, k) - 1, last, k), 0);
  }
  assert.equal(made(1.5, 2), 0.5);
});

test("places are worked on row by row, and back in the other order", () => {
  const size = { h: 2, w: 3 };
  assert.deepEqual([0, 0.2, 0.5, 0.99, 1].map((share) => placeAt(share, size)), [[0, 0], [0, 1], [1, 0], [1, 2], [1, 2]]);
  assert.deepEqual(placeAt(0, size, true), [1, 2]);
});
