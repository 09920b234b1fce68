// The server's API: JSON in, JSON out, and arrays as Float32Arrays with a shape.

const SILENT = "The server does not answer. Is `scratchnet serve` still running?";

/** An answer other than 2xx; its message is one line to show. */
export class ApiError extends Error {}

export const get = (path) => request(path);
export const post = (path, body) =>
  request(path, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body),
  });
/** A POST without a body: pause, resume, stop. */
export const command = (path) => request(path, { method: "POST" });

export function postFile(path, file, fields = {}) {
  const form = new FormData();
  form.append("image", file);
  for (const [name, value] of Object.entries(fields)) form.append(name, value);
  return request(path, { method: "POST", body: form });
}

/** Parse JSON; every {shape, data: base64} in it becomes {shape, data: Float32Array}. */
export function parse(text) {
  return JSON.parse(text, (_, value) =>
    Array.isArray(value?.shape) && typeof value.data === "string"
      ? { shape: value.shape, data: floats(value.data) }
      : value,
  );
}

function floats(base64) {
  const bytes = Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
  return new Float32Array(bytes.buffer);
}

/** A server with too much to do says when to ask again; so often that is done. */
const RETRIES = 3;

async function request(path, options, retries = RETRIES) {
  let response, text;
  try {
    response = await fetch(path, options);
    text = await response.text();
    const seconds = Number(response.headers.get("Retry-After"));
    if (response.status === 503 && seconds && retries) {
      await new Promise((done) => setTimeout(done, 1000 * seconds));
      return request(path, options, retries - 1);
    }
  } catch (error) {
    if (error instanceof ApiError) throw error;
    throw new ApiError(SILENT);
  }
  let answer;
  try {
    answer = parse(text);
  } catch {
    throw new ApiError(`The server sent no JSON (status ${response.status}).`);
  }
  if (!response.ok) throw new ApiError(answer.error ?? `The server answered ${response.status}.`);
  return answer;
}

/**
 * Let `work` run one call at a time. Of the calls that come meanwhile only the newest is kept: what
 * is drawn faster than it is read is not read twice.
 */
export function newest(work) {
  let waiting = null;
  let busy = false;
  return async (...args) => {
    waiting = args;
    if (busy) return;
    busy = true;
    try {
      while (waiting) {
        const next = waiting;
        waiting = null;
        await work(...next);
      }
    } finally {
      busy = false;
    }
  };
}
