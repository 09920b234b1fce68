// The words: each in a sentence or two, on a page, and over the page wherever a card uses one.

import { $, el } from "./dom.js";

/** [name, other spellings, what it is, where on the page it can be seen]; spelt as the cards do. */
export const TERMS = [
  ["activation", [], "What a layer makes of its input; also a layer that bends its values, such as ReLU. Without a bend between them, two Dense layers would be one.", "network/relu"],
  ["BatchNorm", [], "A layer that brings each channel to mean 0 and variance 1, and then to a scale and a mean that it learns.", "network/model=cnn-bn/batchnorm"],
  ["bias", [], "The number b that is added to a weighted sum whatever the input is.", "backward/conv2d"],
  ["convolution", ["Conv2D"], "A small window of weights that is laid over every place of the image. At each place the products are added up: that is one value of a map.", "network/conv2d"],
  ["db", [], "dL/db: how the loss changes with a bias. The sum of all the dy that the bias was added to.", "backward/conv2d"],
  ["dead", [], "Of a ReLU: an output that is 0. Its slope is 0 there, so no gradient passes; one that is 0 for every image learns nothing.", "network/relu"],
  ["dlogits", [], "The gradient of the loss at the logits: probabilities − one-hot. Every backward pass begins with it.", "backward/loss"],
  ["dW", [], "dL/dW: how the loss changes with each weight. A sum of products x · dy, over every place that used the weight.", "backward/conv2d"],
  ["dx", [], "dL/dx: how the loss changes with each number of a layer's input. The layer hands it back, and it is the dy of the layer before.", "network/backward/relu"],
  ["dy", [], "dL/dy: how the loss changes with each number of a layer's output. It arrives from the layer behind.", "network/backward/conv2d"],
  ["epoch", ["epochs"], "Once through all training images.", "train"],
  ["feature map", ["map", "maps"], "What one filter makes of the image: a picture of where it found its pattern.", "network/conv2d"],
  ["filter", ["filters"], "The weights of one window of a convolution: the pattern that it looks for.", "backward/conv2d"],
  ["gradient", ["gradients"], "A slope for each number: by how much the loss would change if that number grew a little.", "network/backward"],
  ["kink", [], "A place where a function bends at once, as ReLU at 0 or a maximum where two are equal. To its left and right the slopes differ, and a numeric derivative across it is wrong.", "network/relu"],
  ["learning rate", [], "How far a step goes: each weight moves by the rate times its gradient, downhill.", "backward/loss"],
  ["logits", ["logit"], "The scores before Softmax, one for each class: any numbers. Only their differences matter.", "network/dense_1"],
  ["loss", [], "One number for how wrong the answer is: here −log of the probability of the right class. 0 is perfect; knowing nothing of ten classes costs 2.30.", "backward/loss"],
  ["max pooling", ["MaxPool2D", "pooling"], "Of each small window only the largest value goes on. Backward that winner gets the whole dy, and the others nothing.", "network/maxpool2d"],
  ["numeric derivative", [], "The slope by trying: the loss with the number a little larger, minus the loss with it a little smaller, divided by the distance. No formula is needed, so it checks one.", "backward/conv2d"],
  ["one-hot", [], "The label as a list: 1 for the right class, and 0 for all others.", "backward/loss"],
  ["optimizer", [], "The rule that makes a step of the gradients: SGD, momentum, Adam.", "backward/loss"],
  ["receptive field", [], "All pixels of the image that a value depends on. It grows from layer to layer.", "network/conv2d_1"],
  ["residual", ["shortcut"], "A sum of a row of layers and of a way past them. The gradient takes both ways.", "network/model=resnet/residual"],
  ["ReLU", [], "max(x, 0): what is negative becomes 0. Its slope is 1 or 0, so a gradient passes unchanged or not at all.", "network/relu"],
  ["rms", ["Root mean square"], "Root mean square: how large the numbers of an array are, taken together, whatever their signs and however many.", "backward/conv2d"],
  ["Softmax", [], "Turns scores into probabilities: positive, and adding up to one.", "network/softmax"],
  ["stride", ["strides"], "By how many pixels a window moves on.", null],
  ["weight", ["weights"], "A number that a layer multiplies with, and that training moves.", "backward/conv2d"],
];

/** Of a page's text only these are marked: what a learner of calculus need not know already. */
const MARKED = new Set([
  "db", "dead", "dlogits", "dW", "dx", "dy", "kink", "learning rate", "logits", "numeric derivative",
  "one-hot", "optimizer", "receptive field", "rms", "residual", "BatchNorm",
]);

const known = new Map();
for (const [name, others] of TERMS) {
  for (const word of [name, ...others]) known.set(word.toLowerCase(), name);
}

/** The entry of a word, whatever its spelling; undefined where there is none. */
export const entryOf = (word) => TERMS.find(([name]) => name === known.get(word.toLowerCase()));

const words = [...known.keys()].filter((word) => MARKED.has(known.get(word)));
const escaped = words.sort((a, b) => b.length - a.length).map((word) => word.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"));
/** Not inside of a name such as "dx.12", nor of a longer word. */
const PATTERN = new RegExp(`(?<![\\w.−-])(${escaped.join("|")})(?![\\w.−-]|\\()`, "gi");

/** A text cut up: [[text, null], [word, name], ...]. */
export function marked(text, isNew = () => true) {
  const parts = [];
  let end = 0;
  const done = new Set();
  for (const match of text.matchAll(PATTERN)) {
    const name = known.get(match[0].toLowerCase());
    if (done.has(name) || !isNew(name)) continue;
    done.add(name);
    if (match.index > end) parts.push([text.slice(end, match.index), null]);
    parts.push([match[0], name]);
    end = match.index + match[0].length;
  }
  if (!parts.length) return null;
  if (end < text.length) parts.push([text.slice(end), null]);
  return parts;
}

// ---- over the page --------------------------------------------------------------------------------

const TEXTS = "p, figcaption, h3, dt";
let tip = null;

/** Mark the first use of each word in what was added to a section. */
function gloss(root) {
  const section = root.closest("section");
  for (const node of [...(root.matches(TEXTS) ? [root] : []), ...root.querySelectorAll(TEXTS)]) {
    if (node.closest("a, button, .term, [aria-live], label")) continue;
    const walker = document.createTreeWalker(node, NodeFilter.SHOW_TEXT);
    const texts = [];
    while (walker.nextNode()) texts.push(walker.currentNode);
    for (const text of texts) {
      if (text.parentElement.closest("a, button, .term, [aria-live]")) continue;
      const isNew = (name) => !section.querySelector(`.term[data-term="${CSS.escape(name)}"]`);
      const parts = marked(text.data, isNew);
      if (parts) text.replaceWith(...parts.map(([part, name]) => (name ? term(part, name) : part)));
    }
  }
}

function term(text, name) {
  return el("button", { type: "button", class: "term", "data-term": name, "aria-describedby": "tip" }, text);
}

function showTip(button) {
  const [name, , text, place] = TERMS.find(([one]) => one === button.dataset.term);
  tip.replaceChildren(
    el("b", {}, name), ` ${text} `,
    place ? el("a", { href: `#${place}`, tabindex: -1 }, "See it") : null, " ",
    el("a", { href: `#glossary/${encodeURIComponent(name)}`, tabindex: -1 }, "Glossary"),
  );
  tip.hidden = false;
  const at = button.getBoundingClientRect();
  const { width, height } = tip.getBoundingClientRect();
  const isBelow = at.top < height + 12;
  tip.style.left = `${Math.max(8, Math.min(at.left, innerWidth - width - 8))}px`;
  tip.style.top = `${isBelow ? at.bottom + 4 : at.top - height - 4}px`;
}

const hideTip = () => (tip.hidden = true);

function listen() {
  tip = el("div", { id: "tip", class: "tip", role: "tooltip", hidden: true });
  $("main").append(tip);
  const inTip = (node) => node instanceof Node && tip.contains(node);
  const on = (name, act) => document.addEventListener(name, (event) => {
    const button = event.target instanceof Element && event.target.closest(".term");
    if (button) act(button, event);
  });
  on("pointerover", showTip);
  on("focusin", showTip);
  on("click", showTip);
  on("pointerout", (_, event) => inTip(event.relatedTarget) || hideTip());
  on("focusout", (_, event) => inTip(event.relatedTarget) || hideTip());
  tip.addEventListener("pointerleave", hideTip);
  tip.addEventListener("click", hideTip);
  addEventListener("keydown", (event) => event.key === "Escape" && hideTip());
  addEventListener("scroll", hideTip, { passive: true, capture: true });
}

/** Cards that are made later are marked, too. */
function watch() {
  const seen = new MutationObserver((changes) => {
    for (const { addedNodes } of changes) {
      for (const node of addedNodes) {
        if (node instanceof Element && node.isConnected && node.closest(".card")) gloss(node);
      }
    }
  });
  seen.observe($("main"), { childList: true, subtree: true });
}

// ---- the page -------------------------------------------------------------------------------------

const section = $("#page-glossary");

export const glossary = {
  section,
  show(name) {
    const wanted = name && document.getElementById(`term-${decodeURIComponent(name)}`);
    if (!wanted) return;
    wanted.scrollIntoView({ block: "center" });
    section.querySelectorAll(".wanted").forEach((one) => one.classList.remove("wanted"));
    wanted.classList.add("wanted");
  },
  start() {
    const rows = TERMS.map(([name, others, text, place]) =>
      el(
        "div", { id: `term-${name}` },
        el("dt", {}, name, others.length ? el("small", {}, ` also ${others.join(", ")}`) : null),
        el("dd", {}, text, " ", place ? el("a", { href: `#${place}`, "aria-label": `See ${name} on the page` }, "See it") : null),
      ),
    );
    $("#glossary-terms").replaceChildren(...rows);
    listen();
    watch();
  },
};
