// The digit that is looked at, as the network sees it while it learns.

import { post } from "./api.js";
import { differences } from "./bars.js";
import { attempt, el, percent } from "./dom.js";
import { maps } from "./maps.js";
import { state } from "./state.js";

/** A card; `follow(run)` asks for the digit's maps, `show(news)` draws what an event brings. */
export function digitCard() {
  const figure = el("figure", { class: "card", id: "train-digit" });
  const error = el("p", { class: "problem", role: "alert", hidden: true });
  const said = el("p", { class: "hint" });
  const box = el("div", {});
  figure.append(el("figcaption", {}, "Your digit, while it learns"), said, box, error);
  let newest = null;
  let isOver = true;

  const hint = () => {
    if (newest) return;
    const here = isOver ? "Its maps are shown while a network learns." : "Its maps appear with the first batches.";
    said.textContent = state.pixels ? here : "Draw a digit first, or choose one: its maps then appear here.";
  };
  hint();

  function show(news) {
    newest = news;
    const { layer, value, probabilities } = news;
    const best = probabilities.indexOf(Math.max(...probabilities));
    said.textContent = `Read as ${best}, ${percent(probabilities[best])}`;
    box.replaceChildren();
    const room = figure.clientWidth - 44;
    if (value) box.append(maps(value, { title: `Maps of ${layer}`, most: 4, height: 210, room }));
    else box.append(differences(probabilities, { title: "Probability of each class", isShare: true }));
  }

  return {
    node: figure,
    show,
    /** Whether the run that is shown has ended. */
    ended(now) {
      isOver = now;
      hint();
    },
    draw: () => (newest ? show(newest) : hint()),
    clear() {
      newest = null;
      box.replaceChildren();
      hint();
    },
    /** Of a run that goes on. */
    follow: (id) =>
      attempt(error, async () => {
        if (state.pixels) await post(`/api/runs/${encodeURIComponent(id)}/digit`, { pixels: state.pixels });
      }),
  };
}
