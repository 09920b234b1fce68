// Numbers as text, words that are explained, tours that ask before they answer.

import assert from "node:assert/strict";
import { test } from "node:test";

globalThis.document = { querySelector: () => null };
const { newest, parse } = await import("../static/api.js");
const { isRounding } = await import("../static/arithmetic.js");
const { number, percent, signed } = await import("../static/dom.js");
const { ROUNDING, isDust, said } = await import("../static/dust.js");
const { TERMS, entryOf, marked } = await import("../static/glossary.js");
const { EXERCISES, LESSONS } = await import("../static/help_links.js");
const { TOURS } = await import("../static/tours.js");

const SECTIONS = /^(draw|network|forward|backward|explain|train|sequence|guide|glossary)(\/|$)/;

test("numbers have a real minus and few digits", () => {
  assert.equal(number(-0.123456, 3), "−0.123");
  assert.equal(number(6e-12, 2), "6.0e−12");
  assert.equal(number(null), "–");
  assert.equal(signed(2, 3), "+2");
});

test("a share is never 100 % that is not all", () => {
  assert.equal(percent(0.99999), "> 99.9 %");
  assert.equal(percent(1), "100.0 %");
  assert.equal(percent(1e-9), "< 0.1 %");
});

test("a sum whose terms cancel is 0 but for rounding", () => {
  assert.ok(isRounding(1e-16, 1, 10));
  assert.ok(!isRounding(1e-3, 1, 10));
  assert.ok(!isRounding(0, 1, 10));
});

test("where the loss is rounding the gradients are said to be dust", () => {
  const answer = (loss) => ({ loss, label: 1, probabilities: [1e-12, 1] });
  assert.ok(isDust(6e-12) && !isDust(ROUNDING) && !isDust(null));
  assert.match(said(answer(6e-12), ["0", "1"]), /nothing to blame.*6\.0e−12.*dust at rounding level, so it is not drawn/);
  assert.match(said(answer(6e-12), ["0", "1"], true), /dust at rounding level, and the pictures are scaled up/);
  assert.match(said(answer(7e-6), ["0", "1"]), /little to blame: the network gives 1 100\.0 %/);
});

test("arrays come as numbers", () => {
  const data = Buffer.from(new Float32Array([1, -2]).buffer).toString("base64");
  assert.deepEqual([...parse(JSON.stringify({ a: { shape: [2], data } })).a.data], [1, -2]);
});

test("of the calls that come while one runs the newest is kept", async () => {
  const done = [];
  let go;
  const first = new Promise((resolve) => (go = resolve));
  const work = newest(async (k) => {
    if (k === 0) await first;
    done.push(k);
  });
  const all = [work(0), work(1), work(2)];
  go();
  await Promise.all(all);
  assert.deepEqual(done, [0, 2]);
});

test("a text's words are marked once, and no parts of others", () => {
  assert.deepEqual(marked("dx goes on, dx again"), [["dx", "dx"], [" goes on, dx again", null]]);
  assert.equal(marked("dx.12 and xdx and one-hotness"), null);
  assert.deepEqual(marked("Root mean square: dy 1").map(([, name]) => name), ["rms", null, "dy", null]);
  assert.equal(marked("dy", () => false), null);
});

test("every word is explained once", () => {
  const names = TERMS.map(([name]) => name);
  assert.equal(new Set(names).size, names.length);
  for (const [name, others, text, place] of TERMS) {
    assert.ok(text.length > 20 && text.endsWith("."), name);
    for (const word of [name, ...others]) assert.equal(entryOf(word)[0], name);
    if (place) assert.match(place, SECTIONS);
  }
  for (const word of ["dy", "dx", "logits", "one-hot", "rms", "kink"]) assert.ok(entryOf(word), word);
});

test("tours have 8 to 12 steps, and ask before they answer", () => {
  assert.equal(TOURS.length, 5);
  for (const { name, steps } of TOURS) {
    assert.ok(steps.length >= 8 && steps.length <= 12, name);
    assert.ok(steps.filter(({ ask }) => ask).length >= 2, name);
    for (const { at, target, text, ask, options, right, answer } of steps) {
      assert.match(at, SECTIONS);
      assert.ok(target && text.length > 15);
      if (ask) assert.ok(options.length >= 2 && right < options.length && answer.length > 20, ask);
    }
  }
});

test("lessons and exercises lead to a place on the page", () => {
  for (const [name, title, place] of [...LESSONS, ...EXERCISES]) {
    assert.ok(name && title);
    assert.match(place, SECTIONS);
  }
});
