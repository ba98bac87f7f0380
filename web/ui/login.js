// Logging in.

import { el } from "./dom.js";
import { field, form } from "./form.js";
import { allowed, logIn } from "./session.js";

export const title = "Log in";

export function open(main, { done }) {
  const name = field({
    name: "username", label: "Name", required: true, autocomplete: "username", autocapitalize: "none", spellcheck: false,
  });
  const password = field({
    name: "password", label: "Password", type: "password", required: true, autocomplete: "current-password",
  });
  const sent = form({
    fields: [name, password], submit: "Log in",
    async action({ username, password: secret }) {
      try {
        await logIn(username.trim(), secret);
      } catch (problem) {
        password.input.value = "";
        password.input.focus();
        throw problem;
      }
      await done();
    },
  });
  main.replaceChildren(el("section", { class: "card narrow" },
    el("h1", {}, "Log in"),
    allowed.anonymous ? null : el("p", { class: "quiet" }, "Your songs are yours alone here, so this takes an account."),
    sent,
    allowed.registration
      ? el("p", {}, el("a", { href: "#register" }, allowed.accounts
        ? "Make an account"
        : "Make the first account: it is the administrator’s."))
      : el("p", { class: "quiet" }, "An administrator makes the accounts here.")));
  name.input.focus();
  return {};
}
