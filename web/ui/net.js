// Talking with the node: requests, uploads and live events. Failures become sentences.

export const AWAY = "This node cannot be reached. It may be restarting; trying again…";

export const STALE = "Too few nodes are up. This is what this node knew last; it is brought up to date when more are back.";

/** A refusal or failure whose message can be shown as it is. `faults` names the fields that are meant, where some are. */
export class Problem extends Error {
  constructor(message, { away = false, code = null, faults = [] } = {}) {
    super(message);
    this.away = away;
    this.code = code;
    this.faults = faults;
  }
}

let loggedOut = () => {};

/** Names what happens when the node says that one has to log in. */
export function whenLoggedOut(happens) {
  loggedOut = happens;
}

function refusal(body, status) {
  const errors = body?.errors ?? [];
  const told = errors.map((error) => error.message).join(" ");
  const code = errors[0]?.code ?? null;
  if (code === "not_logged_in") {
    loggedOut();
    return new Problem("You are not logged in any more. Log in, and do it again.", { code });
  }
  const message = told || `The node answered with status ${status} and no reason. Try again in a moment.`;
  return new Problem(message, { code, faults: errors.filter((error) => error.field) });
}

/** The data of a JSON answer. A request that was given up throws the browser's AbortError. */
export async function ask(path, options = {}) {
  let answer;
  try {
    answer = await fetch(path, { ...options, cache: "no-store" });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem(AWAY, { away: true });
  }
  const body = await answer.json().catch((error) => {
    if (error.name === "AbortError") throw error;
    return null;
  });
  if (!answer.ok || !body?.ok) throw refusal(body, answer.status);
  return body.data;
}

/** Changes something; what is given is sent as JSON. */
export function tell(method, path, what) {
  if (what === undefined) return ask(path, { method });
  return ask(path, { method, headers: { "content-type": "application/json" }, body: JSON.stringify(what) });
}

/** The data of a JSON answer; while there is no majority, what the node knew last, after a call of `stale`. */
export async function askOrStale(path, stale, options = {}) {
  try {
    return await ask(path, options);
  } catch (problem) {
    if (problem.code !== "no_majority") throw problem;
    const data = await ask(`${path}${path.includes("?") ? "&" : "?"}stale=true`, options);
    stale();
    return data;
  }
}

/**
 * Reads a list page by page until there are as many as wanted, or no more; a page may be short and not be the last. `path`
 * makes the address for a cursor, null for the beginning. Returns { items, next }.
 */
export async function collect(name, path, wanted, { from = null, stale, signal }) {
  const items = [];
  let next = from;
  do {
    const data = await askOrStale(path(next), stale, { signal });
    items.push(...data[name]);
    next = data.next;
  } while (next !== null && items.length < wanted);
  return { items, next };
}

/** Why a file could not be played, asked once more in a way that tells. */
export async function whyNot(path) {
  try {
    const answer = await fetch(path, { headers: { range: "bytes=0-0" }, cache: "no-store" });
    if (answer.ok) return "Your browser could not play this. Download it instead.";
    return refusal(await answer.json().catch(() => null), answer.status).message;
  } catch {
    return AWAY;
  }
}

/** A name for an upload: the node does it once, however often it is sent under it. */
export function uploadKey() {
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** Uploads a file. `progress` is called with a number from 0 to 1. Returns { done, abort }. */
export function upload(file, { title, model, key }, progress) {
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
        // What can be said without it, refusal() says.
      }
      if (request.status >= 200 && request.status < 300 && body?.ok) resolve(body.data.song);
      else reject(refusal(body, request.status));
    });
    const broke = "The connection to this node broke off; it may be restarting. Try again: it is not added twice.";
    request.addEventListener("error", () => reject(new Problem(broke, { away: true })));
    request.addEventListener("abort", () => reject(new Problem("The upload was cancelled.")));
  });
  request.open("POST", "/songs/upload");
  request.setRequestHeader("idempotency-key", key);
  request.send(form);
  return { done, abort: () => request.abort() };
}

/** Listens to the node, over its restarts, until the function that it returns is called. */
export function listen({ greeted, lost, on }) {
  let source = null;
  let again = null;
  const begin = () => {
    source = new EventSource("/events");
    source.addEventListener("hello", (event) => greeted(JSON.parse(event.data)));
    for (const [name, handler] of Object.entries(on)) {
      source.addEventListener(name, (event) => handler(JSON.parse(event.data)));
    }
    source.addEventListener("error", () => {
      lost();
      // The browser tries again by itself unless it was refused in so many words.
      if (source.readyState === EventSource.CLOSED) again = setTimeout(begin, 2000);
    });
  };
  begin();
  return () => {
    clearTimeout(again);
    source.close();
  };
}
