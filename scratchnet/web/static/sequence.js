// The section Number: several digits on a wide pad, each found, framed and read.

import { newest, post, postFile } from "./api.js";
import { $, attempt, el, percent, say } from "./dom.js";
import { Pad, files } from "./pad.js";
import { state } from "./state.js";

const PEN = 26;
/** Rows that are sent of a pad of the usual height. */
const SENT = 128;
/** The pad's canvas, and windows that are narrower than PHONE. */
const [WIDE, LOW, PHONE] = [1440, 480, 760];

const section = $("#page-sequence");
const problem = $(".problem", section);
const pad = new Pad($("#wide-pad"), PEN, () => read());
const boxes = $("#boxes");

/** Counts how often the pad was emptied: an answer that comes after that is not shown. */
let emptied = 0;

const read = newest(async () => {
  if (pad.isEmpty) return showNothing();
  const query = { pixels: pad.levels(Math.round((SENT * pad.canvas.height) / LOW)), model: state.model };
  const mine = emptied;
  await attempt(problem, async () => {
    const answer = await post("/api/sequence", query);
    if (mine === emptied) show(answer);
  });
});

const readFile = newest(async (file) => {
  const mine = emptied;
  await attempt(problem, async () => {
    const answer = await postFile("/api/sequence/file", file, { model: state.model });
    if (mine !== emptied) return;
    empty(await createImageBitmap(file));
    show(answer);
  });
});

/** Nothing but that picture. On a phone the pad takes its form, since in a low one its digits would be tiny. */
function empty(picture = null) {
  const share = picture && innerWidth < PHONE ? picture.height / picture.width : 0;
  pad.canvas.height = Math.round(Math.max(LOW, Math.min(WIDE, share * WIDE)));
  pad.clear(picture);
}

function showNothing() {
  say(problem, null);
  boxes.replaceChildren();
  $("#number").textContent = "–";
  $("#number-detail").textContent = "nothing written yet";
}

function show({ lines, digits, width, height, message }) {
  $("#number").textContent = lines.join("\n") || "–";
  const sure = digits.map((digit) => `${digit.class} with ${percent(digit.confidence)}`.replaceAll(" ", "\u00a0"));
  $("#number-detail").textContent = message ?? sure.join(", ");
  boxes.replaceChildren(...digits.map((digit) => frame(digit, width, height)));
}

/** A digit's frame over the pad; an image lies in its middle, as large as fits. */
function frame({ class: name, box: [left, top, w, h] }, width, height) {
  const { canvas } = pad;
  const scale = Math.min(canvas.width / width, canvas.height / height);
  const x = (canvas.width - width * scale) / 2 + left * scale;
  const y = (canvas.height - height * scale) / 2 + top * scale;
  const node = el("span", {}, el("b", {}, name));
  node.style.left = `${(100 * x) / canvas.width}%`;
  node.style.top = `${(100 * y) / canvas.height}%`;
  node.style.width = `${(100 * w * scale) / canvas.width}%`;
  node.style.height = `${(100 * h * scale) / canvas.height}%`;
  return node;
}

export const sequence = {
  section,
  /** Strokes of another pad, in the middle and as high as there is room. */
  take(strokes, from) {
    emptied++;
    empty();
    const scale = pad.canvas.height / from.height;
    const left = (pad.canvas.width - from.width * scale) / 2;
    pad.strokes = strokes.map((stroke) =>
      Object.assign(stroke.map(([x, y]) => [left + x * scale, y * scale]), { pen: stroke.pen * scale }),
    );
    pad.draw();
  },
  takeFile: readFile,
  show: () => read(),
  start() {
    $("#wide-undo").addEventListener("click", () => {
      pad.undo();
      read();
    });
    $("#wide-clear").addEventListener("click", () => {
      emptied++;
      empty();
      showNothing();
    });
    $("#wide-pen").addEventListener("change", ({ target }) => (pad.pen = Number(target.value)));
    files($("#wide-file"), () => !section.hidden, readFile);
  },
};
