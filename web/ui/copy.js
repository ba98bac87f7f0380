// Text to be taken elsewhere: shown whole, with a button that copies it.

import { el, say } from "./dom.js";

/** A line with the text and a button. Browsers open the clipboard over HTTPS alone; elsewhere the older way is tried. */
export function copyable(label, text) {
  const input = el("input", { type: "text", value: text, readOnly: true, "aria-label": label, onfocus: () => input.select() });
  const done = el("span", { class: "quiet", role: "status" });
  const button = el("button", {
    class: "button", type: "button",
    onclick: async () => {
      say(done, (await copied(input, text)) ? "Copied." : "Press Ctrl+C to copy it.");
    },
  }, "Copy");
  return el("div", { class: "copyable" }, input, button, done);
}

async function copied(input, text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    input.focus();
    input.select();
    return document.execCommand("copy");
  }
}
