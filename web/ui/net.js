// HTTP client of the node's API: requests, uploads and the event stream. Errors carry a message for the user.

export const UNREACHABLE = "Cannot reach this node. Retrying…";

export const STALE = "Too few nodes are online. Showing the last known data until more nodes are back.";

/** An error with a message for the user. `fieldErrors` lists the errors of single fields as { field, message }. */
export class AppError extends Error {
  constructor(message, { offline = false, code = null, fieldErrors = [] } = {}) {
    super(message);
    this.offline = offline;
    this.code = code;
    this.fieldErrors = fieldErrors;
  }
}

let loggedOutHandler = () => {};

/** Sets the callback for responses that require log-in. */
export function onLoggedOut(handler) {
  loggedOutHandler = handler;
}

function apiError(body, status) {
  const errors = body?.errors ?? [];
  const text = errors.map((error) => error.message).join(" ");
  const code = errors[0]?.code ?? null;
  if (code === "not_logged_in") {
    loggedOutHandler();
    return new AppError("Your session has ended. Log in and try again.", { code });
  }
  const message = text || `The node returned HTTP status ${status} without an error message. Try again.`;
  return new AppError(message, { code, fieldErrors: errors.filter((error) => error.field) });
}

/** Sends a request and returns the data of the JSON response. An aborted request throws the browser's AbortError. */
export async function request(path, options = {}) {
  let response;
  try {
    response = await fetch(path, { ...options, cache: "no-store" });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new AppError(UNREACHABLE, { offline: true });
  }
  const body = await response.json().catch((error) => {
    if (error.name === "AbortError") throw error;
    return null;
  });
  if (!response.ok || !body?.ok) throw apiError(body, response.status);
  return body.data;
}

/** Reads `path`. */
export const get = (path, { signal } = {}) => request(path, { signal });

/** Sends a request that changes data, with `body` as JSON. */
export function mutate(method, path, body) {
  if (body === undefined) return request(path, { method });
  return request(path, { method, headers: { "content-type": "application/json" }, body: JSON.stringify(body) });
}

/** Reads `path`. Without a majority it calls `stale` and returns the last known data of the node. */
export async function getOrStale(path, stale, options = {}) {
  try {
    return await get(path, options);
  } catch (problem) {
    if (problem.code !== "no_majority") throw problem;
    const data = await get(`${path}${path.includes("?") ? "&" : "?"}stale=true`, options);
    stale();
    return data;
  }
}

/**
 * Reads pages of a list until it has `wanted` items or the list ends; a page can be short without being the last.
 * `path` returns the path for a cursor; null is the first page. Returns { items, next }.
 */
export async function readPages(name, path, wanted, { from = null, stale, signal }) {
  const items = [];
  let next = from;
  do {
    const data = await getOrStale(path(next), stale, { signal });
    items.push(...data[name]);
    next = data.next;
  } while (next !== null && items.length < wanted);
  return { items, next };
}

/** Requests the file again to find out why it does not play. Returns a message. */
export async function playbackError(path) {
  try {
    const response = await fetch(path, { headers: { range: "bytes=0-0" }, cache: "no-store" });
    if (response.ok) return "Your browser cannot play this file. Download it instead.";
    return apiError(await response.json().catch(() => null), response.status).message;
  } catch {
    return UNREACHABLE;
  }
}

/** A random Idempotency-Key: the node handles one upload per key, also after retries. */
export function idempotencyKey() {
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** Uploads a file. `progress` is called with a number from 0 to 1. Returns { done, abort }. */
export function upload(file, { title, model, key }, progress) {
  const xhr = new XMLHttpRequest();
  const form = new FormData();
  if (title) form.append("title", title);
  if (model) form.append("model", model);
  form.append("file", file, file.name);
  const done = new Promise((resolve, reject) => {
    xhr.upload.addEventListener("progress", (event) => {
      if (event.lengthComputable) progress(event.loaded / event.total);
    });
    xhr.upload.addEventListener("load", () => progress(1));
    xhr.addEventListener("load", () => {
      let body = null;
      try {
        body = JSON.parse(xhr.responseText);
      } catch {
        // apiError() builds a message from the status.
      }
      if (xhr.status >= 200 && xhr.status < 300 && body?.ok) resolve(body.data.song);
      else reject(apiError(body, xhr.status));
    });
    const message = "Connection to this node lost. Try again; the song will not be added twice.";
    xhr.addEventListener("error", () => reject(new AppError(message, { offline: true })));
    xhr.addEventListener("abort", () => reject(new AppError("Upload cancelled.")));
  });
  xhr.open("POST", "/songs/upload");
  xhr.setRequestHeader("idempotency-key", key);
  xhr.send(form);
  return { done, abort: () => xhr.abort() };
}

/** Subscribes to the event stream and reconnects after errors. Returns the function that unsubscribes. */
export function subscribe({ onConnect, onDisconnect, on }) {
  let source = null;
  let retryTimer = null;
  const open = () => {
    source = new EventSource("/events");
    source.addEventListener("hello", (event) => onConnect(JSON.parse(event.data)));
    for (const [name, handler] of Object.entries(on)) {
      source.addEventListener(name, (event) => handler(JSON.parse(event.data)));
    }
    source.addEventListener("error", () => {
      onDisconnect();
      // The browser reconnects unless the node rejected the request.
      if (source.readyState === EventSource.CLOSED) retryTimer = setTimeout(open, 2000);
    });
  };
  open();
  return () => {
    clearTimeout(retryTimer);
    source.close();
  };
}
