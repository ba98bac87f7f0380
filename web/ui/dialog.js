// What asks before it goes on, or shows something beside the page. One dialog is open at a time.

import { byId, el, iconButton } from "./dom.js";

/** Opens a dialog with a title and content, and goes to its first field. Returns the function that closes it. */
export function sheet(title, ...content) {
  const dialog = byId("dialog");
  const close = () => dialog.close();
  dialog.replaceChildren(
    el("div", { class: "dialog-head" }, el("h2", { id: "dialog-title" }, title), iconButton("close", "Close", close)),
    ...content);
  if (!dialog.open) dialog.showModal();
  dialog.querySelector("input, select")?.focus();
  return close;
}

/** Asks, and tells whether the answer was yes. */
export function confirm(question, yes, no = "Keep it") {
  return choose(question, [[no, false, ""], [yes, true, "danger"]]).then((answer) => answer === true);
}

/** Asks with several answers, the harmless first: [words, value, kind]. Undefined for who closes it. */
export function choose(question, answers) {
  const dialog = byId("dialog");
  return new Promise((resolve) => {
    let given;
    const buttons = answers.map(([words, value, kind], place) => el("button", {
      class: `button ${kind}`, type: "button", autofocus: place === 0,
      onclick: () => {
        given = value;
        dialog.close();
      },
    }, words));
    dialog.replaceChildren(el("p", { id: "dialog-title" }, question), el("div", { class: "row end" }, ...buttons));
    dialog.addEventListener("close", () => resolve(given), { once: true });
    dialog.showModal();
    buttons[0].focus();
  });
}
