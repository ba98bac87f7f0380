// DOM construction, timers and formatting. Text is always set as text, never as markup.

/** Creates an element. Properties that start with "on" are listeners; "class", "for", "role" and names with a hyphen are
 * attributes. */
export function h(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "class" || name === "for" || name === "role" || name.includes("-")) element.setAttribute(name, value);
    else element[name] = value;
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

const ICON_PATHS = {
  play: "M4 2.5v11l9-5.5z",
  pause: "M3.5 2.5h3v11h-3zM9.5 2.5h3v11h-3z",
  previous: "M3 2.5h2v11H3zM13 2.5v11L5.5 8z",
  next: "M11 2.5h2v11h-2zM3 2.5v11L10.5 8z",
  heart: "M8 14 2.6 8.5a3.4 3.4 0 0 1 4.8-4.8L8 4.3l.6-.6a3.4 3.4 0 0 1 4.8 4.8z",
  more: "M1.5 6.5h3v3h-3zM6.5 6.5h3v3h-3zM11.5 6.5h3v3h-3z",
  grip: "M5 2h2v2H5zM9 2h2v2H9zM5 7h2v2H5zM9 7h2v2H9zM5 12h2v2H5zM9 12h2v2H9z",
  close: "m3.7 2.3 4.3 4.3 4.3-4.3 1.4 1.4L9.4 8l4.3 4.3-1.4 1.4L8 9.4l-4.3 4.3-1.4-1.4L6.6 8 2.3 3.7z",
};

/** An icon for a button. */
export function icon(name) {
  const space = "http://www.w3.org/2000/svg";
  const picture = document.createElementNS(space, "svg");
  picture.setAttribute("viewBox", "0 0 16 16");
  picture.setAttribute("aria-hidden", "true");
  const path = document.createElementNS(space, "path");
  path.setAttribute("d", ICON_PATHS[name]);
  picture.append(path);
  return picture;
}

/** A button with an icon and an accessible label. */
export function iconButton(name, label, onclick, kind = "") {
  return h("button", { class: `icon-button ${kind}`, type: "button", "aria-label": label, title: label, onclick }, icon(name));
}

export const byId = (id) => document.getElementById(id);

/** Sets text only if it changed, so that selections stay and screen readers do not repeat it. */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Announces text to screen readers. */
export function announce(text) {
  setText(byId("announce"), text);
}

/** Date and time in the locale of the user. */
export function formatDate(milliseconds) {
  return new Date(milliseconds).toLocaleString([], { dateStyle: "medium", timeStyle: "short" });
}

/** A duration, given in milliseconds. */
export function formatDuration(milliseconds) {
  if (milliseconds < 100) return `${Math.round(milliseconds)} ms`;
  const seconds = milliseconds / 1000;
  if (seconds < 60) return `${seconds.toFixed(1)} s`;
  return seconds < 3600 ? `${Math.round(seconds / 60)} min` : `${(seconds / 3600).toFixed(1)} h`;
}

/** A count with its noun. */
export const plural = (count, one, many = `${one}s`) => `${count} ${count === 1 ? one : many}`;

/** Debounces `action`: runs it `milliseconds` after the last call. `stop` cancels a pending run. */
export function debounce(milliseconds, action) {
  let timer = null;
  const later = () => {
    clearTimeout(timer);
    timer = setTimeout(action, milliseconds);
  };
  later.stop = () => clearTimeout(timer);
  return later;
}

/** Runs `action` every `milliseconds` while the tab is visible, and when it becomes visible. Returns a function that stops. */
export function poll(milliseconds, action) {
  const run = () => { if (!document.hidden) action(); };
  const timer = setInterval(run, milliseconds);
  document.addEventListener("visibilitychange", run);
  return () => {
    clearInterval(timer);
    document.removeEventListener("visibilitychange", run);
  };
}

/** A time in seconds as m:ss or h:mm:ss. */
export function formatTime(seconds) {
  if (!Number.isFinite(seconds) || seconds < 0) return "–:––";
  const whole = Math.floor(seconds);
  const parts = [Math.floor(whole / 60) % 60, whole % 60];
  if (whole >= 3600) parts.unshift(Math.floor(whole / 3600));
  return parts.map((part, place) => (place === 0 ? String(part) : String(part).padStart(2, "0"))).join(":");
}

/** A size in bytes with its unit. */
export function formatBytes(count) {
  for (const [size, unit] of [[1e9, "GB"], [1e6, "MB"], [1e3, "kB"]]) {
    if (count >= size) return `${(count / size).toFixed(count >= 10 * size ? 0 : 1)} ${unit}`;
  }
  return `${count} bytes`;
}
