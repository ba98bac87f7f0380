// Talking with the node: requests, uploads and live events. Failures become sentences.

export const AWAY = "This node cannot be reached. It may be restarting; trying again…";

export const STALE = "Too few nodes are up. This is what this node knew last; it is brought up to date when more are back.";

/** A refusal or failure whose message can be shown as it is. */
export class Problem extends Error {
  constructor(message, away = false, code = null) {
    super(message);
    this.away = away;
    this.code = code;
  }
}

function sentences(body, status) {
  const told = (body?.errors ?? []).map((error) => error.message).join(" ");
  return told || `The node answered with status ${status} and no reason. Try again in a moment.`;
}

/** The data of a JSON answer. */
export async function ask(path, options = {}) {
  let answer;
  try {
    answer = await fetch(path, { ...options, cache: "no-store" });
  } catch {
    throw new Problem(AWAY, true);
  }
  const body = await answer.json().catch(() => null);
  if (!answer.ok || !body?.ok) throw new Problem(sentences(body, answer.status), false, body?.errors?.[0]?.code);
  return body.data;
}

/** The data of a JSON answer; while there is no majority, what the node knew last, after a call of `stale`. */
export async function askOrStale(path, stale) {
  try {
    return await ask(path);
  } catch (problem) {
    if (problem.code !== "no_majority") throw problem;
    const data = await ask(`${path}${path.includes("?") ? "&" : "?"}stale=true`);
    stale();
    return data;
  }
}

/** Why a file could not be played, asked once more in a way that tells. */
export async function whyNot(path) {
  try {
    const answer = await fetch(path, { headers: { range: "bytes=0-0" }, cache: "no-store" });
    if (answer.ok) return "Your browser could not play this. Download it instead.";
    return sentences(await answer.json().catch(() => null), answer.status);
  } catch {
    return AWAY;
  }
}

/** Uploads a file. `progress` is called with a number from 0 to 1. Returns { done, abort }. */
export function upload(file, title, model, progress) {
  const request = new XMLHttpRequest();
  const form = new FormData();
  if (title) form.append("title", title);
  if (model) form.append("model", model);
  form.append("file", file, file.name);
  const done = new Promise((resolve, reject) => {
    request.upload.addEventListener("progress", (event) => {
      if (event.lengthComputable) progress(event.loaded / event.total);
    });
    request.upload.addEventListener("load", () => progress(1));
    request.addEventListener("load", () => {
      let body = null;
      try {
        body = JSON.parse(request.responseText);
      } catch {
        // The sentence below says what can be said.
      }
      if (request.status === 200 && body?.ok) resolve(body.data.song);
      else reject(new Problem(sentences(body, request.status)));
    });
    request.addEventListener("error", () =>
      reject(new Problem("The connection to this node broke off; it may be restarting. Nothing was stored.", true)));
    request.addEventListener("abort", () => reject(new Problem("The upload was cancelled.")));
  });
  request.open("POST", "/songs/upload");
  request.send(form);
  return { done, abort: () => request.abort() };
}

/** Listens to the node for as long as the page is open, over its restarts. */
export function listen({ greeted, lost, on }) {
  const source = new EventSource("/events");
  source.addEventListener("hello", (event) => greeted(JSON.parse(event.data)));
  for (const [name, handler] of Object.entries(on)) {
    source.addEventListener(name, (event) => handler(JSON.parse(event.data)));
  }
  source.addEventListener("error", () => {
    lost();
    // The browser tries again by itself unless it was refused in so many words.
    if (source.readyState === EventSource.CLOSED) setTimeout(() => listen({ greeted, lost, on }), 2000);
  });
}
