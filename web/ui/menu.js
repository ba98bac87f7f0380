// A popup menu at a button. Arrow keys move the focus; Escape or a click outside closes it.

import { byId, h } from "./dom.js";

let opener = null;

/** Opens a menu at the button. Items are [label, action, class]; an item without an action is a note. */
export function openMenu(button, items) {
  const menu = byId("menu");
  const entries = items.filter(Boolean).map(([words, action, kind = ""]) => (action
    ? h("button", {
      class: `menu-item ${kind}`, type: "button", role: "menuitem", tabIndex: -1,
      onclick: () => {
        menu.hidePopover();
        action();
      },
    }, words)
    : h("p", { class: "quiet menu-note" }, words)));
  menu.replaceChildren(...entries);
  menu.setAttribute("aria-label", button.getAttribute("aria-label"));
  menu.hidePopover();
  menu.showPopover();
  place(menu, button);
  opener?.setAttribute("aria-expanded", "false");
  opener = button;
  button.setAttribute("aria-expanded", "true");
  menu.ontoggle = () => opener.setAttribute("aria-expanded", String(menu.matches(":popover-open")));
  const buttons = [...menu.querySelectorAll("button")];
  buttons[0]?.focus();
  menu.onkeydown = (event) => {
    const at = buttons.indexOf(document.activeElement);
    const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: buttons.length - 1 }[event.key];
    if (event.key === "Tab") menu.hidePopover();
    if (to === undefined) return;
    event.preventDefault();
    buttons[(to + buttons.length) % buttons.length].focus();
  };
}

function place(menu, button) {
  const at = button.getBoundingClientRect();
  const size = menu.getBoundingClientRect();
  const left = Math.max(8, Math.min(at.right - size.width, window.innerWidth - size.width - 8));
  const below = at.bottom + 4 + size.height < window.innerHeight;
  menu.style.left = `${left}px`;
  menu.style.top = `${below ? at.bottom + 4 : Math.max(8, at.top - 4 - size.height)}px`;
}
