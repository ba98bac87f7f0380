// Making an account.

import { el } from "./dom.js";
import { field, form } from "./form.js";
import { allowed, logIn, register } from "./session.js";

export const title = "Make an account";

/** The fields of a new account. */
export const accountFields = () => [
  field({
    name: "username", label: "Name", required: true, maxLength: 64, autocomplete: "username", autocapitalize: "none",
    spellcheck: false, hint: "Letters, digits, dots, hyphens and underscores.",
  }),
  field({ name: "email", label: "E-mail, if you like", type: "email", autocomplete: "email" }),
  ...passwordFields("Password"),
];

/** A new password, twice. */
export const passwordFields = (label) => [
  field({
    name: "password1", label, type: "password", required: true, autocomplete: "new-password", hint: "At least 8 characters.",
  }),
  field({ name: "password2", label: "The same again", type: "password", required: true, autocomplete: "new-password" }),
];

export function open(main, { done }) {
  const fields = accountFields();
  const sent = form({
    fields, submit: "Make the account",
    async action(wish) {
      const username = wish.username.trim();
      await register({ ...wish, username });
      await logIn(username, wish.password1);
      await done();
    },
  });
  main.replaceChildren(el("section", { class: "card narrow" },
    el("h1", {}, allowed.accounts ? "Make an account" : "Make the first account"),
    el("p", { class: "quiet" }, allowed.accounts
      ? "What you upload with it is yours alone, until you share it."
      : "It is the administrator’s, who sees everything and looks after the others."),
    sent,
    allowed.accounts ? el("p", {}, el("a", { href: "#login" }, "Log in instead")) : null));
  fields[0].input.focus();
  return {};
}
