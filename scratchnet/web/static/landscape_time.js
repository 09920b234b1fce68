// Time in the landscape: one unit for each layer forward, one for the loss, one for each layer back.
//
// With nodes 0 (the image) to `last`, node k is made between k - 1 and k; the loss between last and
// last + 1; the gradient at node k in the unit after those of all nodes behind it.

export const end = (last) => 2 * last + 2;
/** When all of the forward pass is there, and nothing of the backward pass. */
export const forwardEnd = (last) => last;
/** When the gradient at node k is there. */
export const backAt = (last, k) => last + 2 + (last - k);

const share = (value) => Math.min(1, Math.max(0, value));

/** How much of node k's output is there, and of its gradient: shares from 0 to 1. */
export const made = (time, k) => (k === 0 ? 1 : share(time - (k - 1)));
export const sentBack = (time, last, k) => share(time - backAt(last, k) + 1);

/** What happens at that time: {pass: "forward" | "loss" | "backward", number, share}. */
export function moment(time, last) {
  if (time <= 0) return { pass: "forward", number: 0, share: 1 };
  if (time <= last) return { pass: "forward", number: Math.ceil(time), share: time - Math.ceil(time) + 1 };
  if (time <= last + 1) return { pass: "loss", number: last, share: time - last };
  const step = Math.ceil(time - last - 1) - 1;
  return { pass: "backward", number: last - step, share: time - last - 1 - step };
}

/** The place in row-major order that is worked on while a share of h x w places is done. */
export function placeAt(share_, { h, w }, isReversed = false) {
  const at = Math.min(h * w - 1, Math.floor(share_ * h * w));
  const place = isReversed ? h * w - 1 - at : at;
  return [Math.floor(place / w), place % w];
}
