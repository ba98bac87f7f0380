// A read-only text field with a Copy button.

import { h, setText } from "./dom.js";

/** A field with the text and a button. The clipboard API needs HTTPS; over HTTP it falls back to execCommand. */
export function copyField(label, text) {
  const input = h("input", { type: "text", value: text, readOnly: true, "aria-label": label, onfocus: () => input.select() });
  const status = h("span", { class: "quiet", role: "status" });
  const button = h("button", {
    class: "button", type: "button",
    onclick: async () => {
      setText(status, (await copy(input, text)) ? "Copied." : "Press Ctrl+C to copy.");
    },
  }, "Copy");
  return h("div", { class: "copyable" }, input, button, status);
}

async function copy(input, text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    input.focus();
    input.select();
    return document.execCommand("copy");
  }
}
