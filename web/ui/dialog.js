// Modal dialogs. One dialog is open at a time.

import { byId, h, iconButton } from "./dom.js";

/** Opens a dialog and focuses its first field. Returns the function that closes it. */
export function openDialog(title, ...content) {
  const dialog = byId("dialog");
  const close = () => dialog.close();
  dialog.replaceChildren(
    h("div", { class: "dialog-head" }, h("h2", { id: "dialog-title" }, title), iconButton("close", "Close", close)),
    ...content);
  if (!dialog.open) dialog.showModal();
  dialog.querySelector("input, select")?.focus();
  return close;
}

/** Asks for confirmation. Resolves to whether the user confirmed. */
export function confirm(question, yes, no = "Cancel") {
  return choose(question, [[no, false, ""], [yes, true, "danger"]]).then((answer) => answer === true);
}

/** Asks a question with several answers [label, value, class], the safe one first. Resolves to undefined if closed. */
export function choose(question, answers) {
  const dialog = byId("dialog");
  return new Promise((resolve) => {
    let given;
    const buttons = answers.map(([words, value, kind], place) => h("button", {
      class: `button ${kind}`, type: "button", autofocus: place === 0,
      onclick: () => {
        given = value;
        dialog.close();
      },
    }, words));
    dialog.replaceChildren(h("p", { id: "dialog-title" }, question), h("div", { class: "row end" }, ...buttons));
    dialog.addEventListener("close", () => resolve(given), { once: true });
    dialog.showModal();
    buttons[0].focus();
  });
}
